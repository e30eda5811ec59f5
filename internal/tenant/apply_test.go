package tenant

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

// edit is lakeshore with one thing changed.
func edit(change func(*Wanted)) Wanted {
	w := lakeshore()
	change(&w)
	return w
}

func adapter(w *Wanted, change func(*WantedAdapter)) {
	a := w.Adapters["followupboss"]
	change(&a)
	w.Adapters["followupboss"] = a
}

func TestSecondApplyOfTheSameChangesNothing(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	first := apply(t, s, lakeshore(), redrock())
	require.Equal(t, []Change{
		{"lakeshore", "tenant", "", "add", []string{`"Lakeshore Realty"`}},
		{"lakeshore", "account", "followupboss/main", "add", []string{`external_id "58120" at https://api.followupboss.com`}},
		{"lakeshore", "account", "skyslope/main", "add", []string{`external_id "20417" at https://api.skyslope.com`}},
	}, first.Changes[:3])
	require.Contains(t, first.Wake, verdict.TenantScope("redrock"))
	before := get(t, s, "lakeshore")
	reordered := edit(func(w *Wanted) {
		w.Accounts[0], w.Accounts[1] = w.Accounts[1], w.Accounts[0]
		adapter(w, func(a *WantedAdapter) {
			a.Settings = json.RawMessage(` {"forward_only": true, "stages": {"CLOSED": "Closed"}}`)
		})
	})
	r := apply(t, s, reordered, redrock())
	require.Equal(t, Result{Changes: []Change{}, Wake: []verdict.Scope{}}, r)
	require.Equal(t, before, get(t, s, "lakeshore"))
	out, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"changes": [], "wake": []}`, string(out))
}

func TestEachChangeIsSaidAndWakesWhatItHeals(t *testing.T) {
	t.Parallel()
	fub := verdict.AccountScope("lakeshore", "followupboss", "main")
	for name, tt := range map[string]struct {
		change func(*Wanted)
		want   []Change
		wake   []verdict.Scope
	}{
		"name": {
			func(w *Wanted) { w.Name = "Lakeshore" },
			[]Change{{"lakeshore", "tenant", "", "change", []string{`name: "Lakeshore Realty" → "Lakeshore"`}}},
			[]verdict.Scope{},
		},
		"credential": {
			func(w *Wanted) { w.Accounts[0].Credential = map[string]string{"api_key": "planted-new"} },
			[]Change{{"lakeshore", "credential", "followupboss/main", "change", []string{"from env FUB"}}},
			[]verdict.Scope{fub},
		},
		"base and settings of an account": {
			func(w *Wanted) { w.Accounts[0].BaseURL, w.Accounts[0].Settings = "https://x.example", nil },
			[]Change{{"lakeshore", "account", "followupboss/main", "change", []string{
				`base_url: "https://api.followupboss.com" → "https://x.example"`, "settings.page",
			}}},
			[]verdict.Scope{fub},
		},
		"adapter paused": {
			func(w *Wanted) { adapter(w, func(a *WantedAdapter) { a.Paused = true }) },
			[]Change{{"lakeshore", "adapter", "followupboss", "change", []string{`paused: "false" → "true"`}}},
			[]verdict.Scope{},
		},
		"settings of an adapter": {
			func(w *Wanted) {
				adapter(w, func(a *WantedAdapter) { a.Settings = json.RawMessage(`{"forward_only":true,"new":1}`) })
			},
			[]Change{{"lakeshore", "adapter", "followupboss", "change", []string{"settings.new", "settings.stages"}}},
			[]verdict.Scope{},
		},
		"adapter removed": {
			func(w *Wanted) { w.Adapters = nil },
			[]Change{{"lakeshore", "adapter", "followupboss", "remove", nil}},
			[]verdict.Scope{},
		},
		"account removed": {
			func(w *Wanted) { w.Accounts = w.Accounts[:1] },
			[]Change{{"lakeshore", "account", "skyslope/main", "remove", nil}},
			[]verdict.Scope{},
		},
		"account added": {
			func(w *Wanted) {
				w.Accounts = append(w.Accounts, WantedAccount{Vendor: "skyslope", Name: "two", ExternalID: "9", BaseURL: "https://y.example"})
			},
			[]Change{{"lakeshore", "account", "skyslope/two", "add", []string{`external_id "9" at https://y.example`}}},
			[]verdict.Scope{verdict.AccountScope("lakeshore", "skyslope", "two"), verdict.TenantScope("lakeshore")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			apply(t, s, lakeshore())
			changed := edit(tt.change)
			diff, err := s.Diff(t.Context(), []Wanted{changed})
			require.NoError(t, err)
			require.Equal(t, Result{tt.want, tt.wake}, diff)
			require.EqualValues(t, 1, get(t, s, "lakeshore").Version, "a diff changes nothing")
			require.Equal(t, diff, apply(t, s, changed))
			require.EqualValues(t, 2, get(t, s, "lakeshore").Version)
			require.Empty(t, apply(t, s, changed).Changes)
		})
	}
}

func TestUnpausedAdapterWakesItsTenant(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, edit(func(w *Wanted) { adapter(w, func(a *WantedAdapter) { a.Paused = true }) }))
	require.True(t, get(t, s, "lakeshore").Adapters["followupboss"].Paused)
	require.Equal(t, []verdict.Scope{verdict.TenantScope("lakeshore")}, apply(t, s, lakeshore()).Wake)
}

func TestEveryConfigurationIsKeptWithoutSecrets(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, lakeshore())
	apply(t, s, edit(func(w *Wanted) { w.Name = "Lakeshore" }))
	rows, err := s.pool.Query(t.Context(), postgres.In(s.schema, "SELECT version, by, config FROM {schema}.tenant_config ORDER BY version"))
	require.NoError(t, err)
	var names []string
	for rows.Next() {
		var (
			version int64
			by      string
			config  struct {
				Name     string
				Accounts []struct{ Credential string }
			}
		)
		require.NoError(t, rows.Scan(&version, &by, &config))
		require.EqualValues(t, len(names)+1, version)
		require.Equal(t, "test", by)
		require.Equal(t, "env FUB", config.Accounts[0].Credential)
		names = append(names, config.Name)
	}
	require.Equal(t, []string{"Lakeshore Realty", "Lakeshore"}, names)
}

func TestGoLiveNeverMovesBackButByReplay(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	from := func(at time.Time) Wanted {
		return edit(func(w *Wanted) {
			adapter(w, func(a *WantedAdapter) { a.EffectsFrom, a.At = at, Place{"lakeshore.yaml", 15, 19} })
		})
	}
	day := time.Date(2026, 3, 1, 0, 0, 0, 123456789, time.UTC)
	live := func() time.Time { return get(t, s, "lakeshore").Adapters["followupboss"].EffectsFrom }
	apply(t, s, from(day))
	require.Equal(t, day.Truncate(time.Microsecond), live(), "an explicit past is a choice at the first apply")
	require.Empty(t, apply(t, s, from(day)).Changes)
	require.Empty(t, apply(t, s, lakeshore()).Changes, "left out, it stays")
	apply(t, s, from(day.Add(time.Hour)))

	refused := func(w Wanted) {
		_, err := s.Apply(t.Context(), []Wanted{w}, "test")
		problems, ok := errors.AsType[Problems](err)
		require.True(t, ok, err)
		require.Equal(t, Place{"lakeshore.yaml", 15, 19}, problems[0].Place)
		require.Contains(t, problems[0].What, "moves back from 2026-03-01T01:00:00Z to 2026-03-01T00:00:00Z")
		require.Contains(t, problems[0].Remedy, "replay")
		require.Equal(t, day.Truncate(time.Microsecond).Add(time.Hour), live())
	}
	refused(from(day))

	apply(t, s, edit(func(w *Wanted) { w.Adapters = nil }))
	require.NotContains(t, get(t, s, "lakeshore").Adapters, "followupboss")
	_, err := s.Apply(t.Context(), []Wanted{from(day)}, "test")
	require.Error(t, err, "removing and adding is no way back")
	apply(t, s, lakeshore())
	require.WithinDuration(t, time.Now(), live(), time.Minute, "added again, it goes live again")
}

func TestTwoAccountsWithOneExternalIDAreOneClearProblem(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	clash := redrock()
	clash.Accounts[0].ExternalID = "20417"
	wantProblem := func(err error) {
		problems, ok := errors.AsType[Problems](err)
		require.True(t, ok, err)
		require.Equal(t, `redrock.yaml:6:18: external_id "20417" at skyslope is also that of account lakeshore/skyslope/main: `+
			`an account belongs to one tenant: correct one of the two`, problems.Error())
	}
	_, err := s.Apply(t.Context(), []Wanted{lakeshore(), clash}, "test")
	wantProblem(err)
	all, err := s.Tenants(t.Context())
	require.NoError(t, err)
	require.Empty(t, all, "all or nothing")

	apply(t, s, lakeshore())
	_, err = s.Apply(t.Context(), []Wanted{clash}, "test")
	wantProblem(err)
	_, err = s.Diff(t.Context(), []Wanted{clash})
	wantProblem(err)

	apply(t, s, redrock())
	a, b := lakeshore(), redrock()
	a.Accounts[1].ExternalID, b.Accounts[0].ExternalID = b.Accounts[0].ExternalID, a.Accounts[1].ExternalID
	apply(t, s, a, b) // exchanged in one apply
	got, _ := get(t, s, "redrock").Account("skyslope", "main")
	require.Equal(t, "20417", got.ExternalID)

	_, err = s.pool.Exec(t.Context(), postgres.In(s.schema, "UPDATE {schema}.account SET external_id = '20417' WHERE vendor = 'skyslope'"))
	require.Error(t, err, "Postgres holds it too")
}

func TestAppliesAtOnceAreOneAfterTheOther(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	sealer := newSealer(t)
	var wg sync.WaitGroup
	results := make([]Result, 6)
	for i := range results {
		s := open(t, pool, schema, sealer)
		wg.Go(func() {
			var err error
			results[i], err = s.Apply(t.Context(), []Wanted{lakeshore(), redrock()}, "test")
			require.NoError(t, err)
		})
	}
	wg.Wait()
	changed := 0
	for _, r := range results {
		if len(r.Changes) > 0 {
			changed++
		}
	}
	require.Equal(t, 1, changed)
}

func TestPauseIsSeenAndApplyDoesNotEndIt(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, lakeshore())
	require.NoError(t, s.Pause(t.Context(), "lakeshore", "test"))
	require.NoError(t, s.Pause(t.Context(), "lakeshore", "test"))
	require.NoError(t, s.Pause(t.Context(), "lakeshore/skyslope/main", "test"))
	apply(t, s, edit(func(w *Wanted) { w.Name, w.Accounts[1].BaseURL = "New", "https://z.example" }))
	got := get(t, s, "lakeshore")
	require.True(t, got.Paused)
	require.Equal(t, []bool{false, true}, []bool{got.Accounts[0].Paused, got.Accounts[1].Paused})

	scope, err := s.Resume(t.Context(), "lakeshore", "test")
	require.NoError(t, err)
	require.Equal(t, verdict.TenantScope("lakeshore"), scope)
	scope, err = s.Resume(t.Context(), "lakeshore/skyslope/main", "test")
	require.NoError(t, err)
	require.Equal(t, verdict.AccountScope("lakeshore", "skyslope", "main"), scope)
	require.False(t, get(t, s, "lakeshore").Paused)

	require.ErrorIs(t, s.Pause(t.Context(), "nobody", "test"), ErrUnknown)
	require.ErrorIs(t, s.Pause(t.Context(), "lakeshore/skyslope/other", "test"), ErrUnknownAccount)
	require.ErrorContains(t, s.Pause(t.Context(), "lakeshore/skyslope", "test"), "write a tenant, or tenant/vendor/account")
}

func TestRefusalIsKeptUntilASuccessOrAnotherCredential(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, lakeshore())
	fub := func() Account { a, _ := get(t, s, "lakeshore").Account("followupboss", "main"); return a }
	s.SetHealth(t.Context(), fub(), true, "account refused 401")
	refused := fub().Health
	require.True(t, refused.Refused)
	require.Equal(t, "account refused 401", refused.Cause)
	s.SetHealth(t.Context(), fub(), true, "account refused 403")
	require.Equal(t, refused.Since, fub().Health.Since, "refused since the first time")
	other, _ := get(t, s, "lakeshore").Account("skyslope", "main")
	require.False(t, other.Health.Refused)

	s.SetHealth(t.Context(), fub(), false, "")
	require.False(t, fub().Health.Refused)
	require.True(t, fub().Health.Since.After(refused.Since))

	s.SetHealth(t.Context(), fub(), true, "account refused 401")
	apply(t, s, edit(func(w *Wanted) { w.Accounts[0].Credential = map[string]string{"api_key": "planted-new"} }))
	require.False(t, fub().Health.Refused)
	require.Empty(t, fub().Health.Cause)
}
