package tenant

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/postgres"
)

func key(id string) WantedWebhookKey {
	return WantedWebhookKey{ID: id, Key: []byte("planted-" + id), Source: "file " + id + ".key"}
}

// signed is lakeshore whose first account has keys.
func signed(keys ...WantedWebhookKey) Wanted {
	return edit(func(w *Wanted) { w.Accounts[0].Keys = keys })
}

func token(t *testing.T, s *Store, name string) string {
	t.Helper()
	a, ok := get(t, s, "lakeshore").Account(name, "main")
	require.True(t, ok)
	return a.WebhookToken
}

func endpoint(t *testing.T, s *Store) Endpoint {
	t.Helper()
	e, ok := s.Endpoint(t.Context(), "followupboss", token(t, s, "followupboss"))
	require.True(t, ok)
	return e
}

func ids(e Endpoint) (out []string) {
	for _, k := range e.Keys {
		out = append(out, k.ID+"="+string(k.Key))
	}
	return out
}

func TestAddressIsDrawnAtTheFirstApplyAndStaysWhateverChanges(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, lakeshore())
	fub, sky := token(t, s, "followupboss"), token(t, s, "skyslope")
	require.Len(t, fub, 43)
	require.NotEqual(t, fub, sky)
	apply(t, s, edit(func(w *Wanted) {
		w.Accounts[0].ExternalID, w.Accounts[0].Credential = "9", map[string]string{"api_key": "planted-new"}
	}))
	require.Equal(t, fub, token(t, s, "followupboss"))

	e, ok := s.Endpoint(t.Context(), "followupboss", fub)
	require.True(t, ok)
	require.Equal(t, "9", e.Account.ExternalID)
	require.Equal(t, "planted-new", e.Account.Credential.Fields["api_key"])
	for vendor, token := range map[string]string{"skyslope": fub, "followupboss": sky, "docusign": fub} {
		_, ok = s.Endpoint(t.Context(), vendor, token)
		require.False(t, ok, "another vendor's")
	}
	for _, token := range []string{"", fub[:42], fub + "x", "/" + fub} {
		_, ok = s.Endpoint(t.Context(), "followupboss", token)
		require.False(t, ok, token)
	}
}

func TestAccountOfAnOlderBuildGetsItsAddressAtTheNextApply(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, lakeshore())
	_, err := s.pool.Exec(t.Context(), postgres.In(s.schema, `DELETE FROM {schema}.webhook_endpoint WHERE vendor = 'skyslope'`))
	require.NoError(t, err)
	require.Equal(t, []Change{{"lakeshore", "webhook", "skyslope/main", "add", []string{"its address"}}}, apply(t, s, lakeshore()).Changes)
	require.Len(t, token(t, s, "skyslope"), 43)
	require.Empty(t, apply(t, s, lakeshore()).Changes)
}

func TestAddressThatALostKeySealedIsDrawnAnew(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	old := open(t, pool, schema, newSealer(t))
	apply(t, old, lakeshore())
	before := token(t, old, "followupboss")
	s := open(t, pool, schema, nil)
	s.sealer = newSealer(t)
	require.Contains(t, apply(t, s, lakeshore()).Changes, Change{
		"lakeshore", "webhook", "followupboss/main", "change", []string{"another address: no key opens the old one"},
	})
	require.NotEqual(t, before, token(t, s, "followupboss"))
	_, ok := s.Endpoint(t.Context(), "followupboss", before)
	require.False(t, ok)
}

func TestSecondKeyOfARotationIsLiveInAnotherProcessWithoutRestart(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	sealer := newSealer(t)
	operator, door := open(t, pool, schema, sealer), open(t, pool, schema, sealer)
	apply(t, operator, signed(key("k1")))
	began := time.Now()
	require.Eventually(t, func() bool { return len(get2(door)) == 1 }, 5*time.Second, 20*time.Millisecond)
	r := apply(t, operator, signed(key("k1"), key("k2")))
	require.Equal(t, []Change{{"lakeshore", "webhook key", "followupboss/main/k2", "add", []string{"from file k2.key"}}}, r.Changes)
	require.Empty(t, r.Wake)
	require.Eventually(t, func() bool { return len(get2(door)) == 2 }, 5*time.Second, 20*time.Millisecond)
	require.Less(t, time.Since(began), 10*time.Second)
	require.Equal(t, []string{"k1=planted-k1", "k2=planted-k2"}, ids(endpoint(t, door)))
}

// get2 are the keys of the first endpoint that a process sees.
func get2(s *Store) []WebhookKey {
	for _, e := range s.current().doors {
		if e.Account.Vendor == "followupboss" {
			return e.Keys
		}
	}
	return nil
}

func TestKeysAreAddedChangedAndRemovedByTheFileAndSaidWithoutSecrets(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, signed(key("k1"), key("k2"), key("k3")))
	end := time.Date(2026, 12, 31, 0, 0, 0, 1500, time.UTC)
	ending, other := key("k1"), key("k2")
	ending.NotAfter = end
	other.Key = []byte("planted-other")
	want := []Change{
		{"lakeshore", "webhook key", "followupboss/main/k1", "change", []string{`not_after: "" → "2026-12-31T00:00:00.000001Z"`}},
		{"lakeshore", "webhook key", "followupboss/main/k2", "change", []string{"from file k2.key"}},
		{"lakeshore", "webhook key", "followupboss/main/k3", "remove", nil},
	}
	diff, err := s.Diff(t.Context(), []Wanted{signed(ending, other)})
	require.NoError(t, err)
	require.Equal(t, want, diff.Changes)
	require.Equal(t, want, apply(t, s, signed(ending, other)).Changes)
	require.Empty(t, apply(t, s, signed(ending, other)).Changes)
	require.Equal(t, []string{"k1=planted-k1", "k2=planted-other"}, ids(endpoint(t, s)))
	k1 := endpoint(t, s).Keys[0]
	require.True(t, k1.Live(end.Add(-time.Second)))
	require.False(t, k1.Live(end))
	out, err := json.Marshal(diff)
	require.NoError(t, err)
	require.NotContains(t, string(out), "planted")
}

func TestKeysOfTheSystemSignForEveryAccountOfTheVendorAndOutliveIt(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	system := Wanted{System: "followupboss", Keys: []WantedWebhookKey{key("k1")}}
	r := apply(t, s, lakeshore(), redrock(), system)
	require.Contains(t, r.Changes, Change{"", "webhook key", "followupboss/k1", "add", []string{"from file k1.key"}})
	apply(t, s, signed(key("k1")))
	require.Equal(t, []string{"k1=planted-k1", "system/k1=planted-k1"}, ids(endpoint(t, s)))
	e, ok := s.Endpoint(t.Context(), "skyslope", token(t, s, "skyslope"))
	require.True(t, ok)
	require.Empty(t, e.Keys, "another vendor's")

	apply(t, s, edit(func(w *Wanted) { w.Accounts, w.Adapters = w.Accounts[1:], nil }))
	var left []string
	rows, err := s.pool.Query(t.Context(), postgres.In(s.schema, `SELECT tenant || '/' || id FROM {schema}.webhook_key`))
	require.NoError(t, err)
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		left = append(left, id)
	}
	require.Equal(t, []string{"/k1"}, left, "the account's key went with it")
	system.Keys = nil
	require.Equal(t, []Change{{"", "webhook key", "followupboss/k1", "remove", nil}}, apply(t, s, system).Changes)
}

func TestKeysAreListedWithoutTheKeysWhereNothingOpensThem(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	ending := key("k1")
	ending.NotAfter = time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	apply(t, open(t, pool, schema, newSealer(t)), signed(ending), Wanted{System: "followupboss", Keys: []WantedWebhookKey{key("k1")}})
	s := open(t, pool, schema, nil)
	a, ok := get(t, s, "lakeshore").Account("followupboss", "main")
	require.True(t, ok)
	require.Equal(t, []WebhookKey{{ID: "k1", NotAfter: ending.NotAfter}, {ID: "system/k1"}}, s.WebhookKeys(a))
}

func TestKeyDoesNotOpenElsewhereAndIsNeverPrinted(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, signed(key("k1")), Wanted{System: "skyslope", Keys: []WantedWebhookKey{key("k1")}})
	_, err := s.pool.Exec(t.Context(), postgres.In(s.schema, `
UPDATE {schema}.webhook_key SET sealed = (SELECT sealed FROM {schema}.webhook_key WHERE vendor = 'skyslope') WHERE vendor = 'followupboss';
UPDATE {schema}.tenant_change SET n = n + 1`))
	require.NoError(t, err)
	require.NoError(t, s.refresh(t.Context()))
	require.Empty(t, endpoint(t, s).Keys)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(verb+verb+verb, key("k1"), WebhookKey{ID: "k1", Key: []byte("planted")}, endpoint(t, s).Account)
		require.NotContains(t, text, "planted")
		require.NotContains(t, text, token(t, s, "followupboss"))
	}
	blind := open(t, s.pool, s.schema, nil)
	e, ok := blind.Endpoint(t.Context(), "followupboss", token(t, s, "followupboss"))
	require.True(t, ok)
	require.Empty(t, e.Account.WebhookToken)
	require.Empty(t, e.Keys)
}
