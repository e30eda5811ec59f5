package tenant

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
)

func TestMain(m *testing.M) {
	// The test server's watcher and the closing of pools outlive the tests by design.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
		goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"))
}

func newSealer(t *testing.T) Sealer {
	t.Helper()
	file, err := NewSealingKey()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "sealing.key")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	s, err := ReadSealingKey(path)
	require.NoError(t, err)
	return s
}

func tables(t *testing.T) (*pgxpool.Pool, string) {
	t.Helper()
	pool, schema := testkit.Schema(t)
	m := postgres.Migrations{Schema: schema, Set: "tenant", Files: Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	return pool, schema
}

func open(t *testing.T, pool *pgxpool.Pool, schema string, sealer Sealer) *Store {
	t.Helper()
	s, err := Open(t.Context(), pool, schema, sealer)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func fresh(t *testing.T) *Store {
	t.Helper()
	pool, schema := tables(t)
	return open(t, pool, schema, newSealer(t))
}

// lakeshore is a tenant with two accounts and an adapter.
func lakeshore() Wanted {
	return Wanted{
		ID: "lakeshore", Name: "Lakeshore Realty", TimeZone: "America/Chicago", At: Place{"lakeshore.yaml", 1, 9},
		Accounts: []WantedAccount{
			{
				Vendor: "followupboss", Name: "main", ExternalID: "58120", BaseURL: "https://api.followupboss.com",
				Settings: json.RawMessage(`{"page":100}`), Credential: map[string]string{"api_key": "planted-api-key"},
				Source: "env FUB", At: Place{"lakeshore.yaml", 5, 18},
			},
			{
				Vendor: "skyslope", Name: "main", ExternalID: "20417", BaseURL: "https://api.skyslope.com",
				Credential: map[string]string{"access_key": "planted-access-key"}, Source: "file x", At: Place{"lakeshore.yaml", 9, 18},
			},
		},
		Adapters: map[string]WantedAdapter{"followupboss": {
			Account: "main", Settings: json.RawMessage(`{"stages":{"CLOSED":"Closed"},"forward_only":true}`), At: Place{"lakeshore.yaml", 14, 3},
		}},
	}
}

func redrock() Wanted {
	return Wanted{ID: "redrock", Name: "Red Rock Homes", TimeZone: "America/Phoenix", At: Place{"redrock.yaml", 1, 9}, Accounts: []WantedAccount{{
		Vendor: "skyslope", Name: "main", ExternalID: "31882", BaseURL: "https://api.skyslope.com",
		Credential: map[string]string{"access_key": "planted-other-key"}, Source: "file y", At: Place{"redrock.yaml", 6, 18},
	}}}
}

func apply(t *testing.T, s *Store, wanted ...Wanted) Result {
	t.Helper()
	r, err := s.Apply(t.Context(), wanted, "test")
	require.NoError(t, err)
	return r
}

func get(t *testing.T, s *Store, id string) Tenant {
	t.Helper()
	got, err := s.Tenant(t.Context(), id)
	require.NoError(t, err)
	return got
}

func (s *Store) age(by time.Duration) {
	v := s.view.Load()
	s.view.Store(&view{at: v.at.Add(-by), known: v.known})
}

func TestAppliedTenantIsReadBackWhole(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	before := time.Now().Add(-time.Minute)
	apply(t, s, lakeshore(), redrock())
	got := get(t, s, "lakeshore")
	require.Len(t, got.PseudonymKey, 32)
	require.NotEqual(t, got.PseudonymKey, get(t, s, "redrock").PseudonymKey)
	require.EqualValues(t, 1, got.Version)
	fub, ok := got.Account("followupboss", "main")
	require.True(t, ok)
	require.True(t, fub.CreatedAt.After(before) && fub.Health.CheckedAt.After(before))
	require.Equal(t, Account{
		Tenant: "lakeshore", Vendor: "followupboss", Name: "main", ExternalID: "58120", BaseURL: "https://api.followupboss.com",
		Settings: json.RawMessage(`{"page":100}`), Credential: Credential{Fields: map[string]string{"api_key": "planted-api-key"}},
		WebhookToken: fub.WebhookToken, CreatedAt: fub.CreatedAt, Health: Health{Since: fub.Health.Since, CheckedAt: fub.Health.CheckedAt},
	}, fub)
	adapter := got.Adapters["followupboss"]
	require.WithinDuration(t, time.Now(), adapter.EffectsFrom, time.Minute, "the instant of the first apply")
	require.JSONEq(t, `{"stages":{"CLOSED":"Closed"},"forward_only":true}`, string(adapter.Settings))

	all, err := s.Tenants(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "lakeshore", all[0].ID)
	_, err = s.Tenant(t.Context(), "nobody")
	require.ErrorIs(t, err, ErrUnknown)
}

func TestNothingSecretLiesInPostgresOrInAResult(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	s := open(t, pool, schema, newSealer(t))
	r := apply(t, s, lakeshore(), redrock())
	out, err := json.Marshal(r)
	require.NoError(t, err)
	require.NotContains(t, string(out), "planted")
	key := get(t, s, "lakeshore").PseudonymKey
	for _, table := range []string{"tenant", "account", "credential", "adapter", "tenant_config"} {
		rows, err := pool.Query(t.Context(), postgres.In(schema, "SELECT t::text FROM {schema}."+table+" t"))
		require.NoError(t, err)
		for rows.Next() {
			var row string
			require.NoError(t, rows.Scan(&row))
			require.NotContains(t, row, "planted")
			require.NotContains(t, row, fmt.Sprintf("%x", "planted"), "also not as bytes")
			require.NotContains(t, row, hex.EncodeToString(key))
		}
		require.NoError(t, rows.Err())
	}
}

func TestSealedCredentialOpensForNoOtherAccount(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	s := open(t, pool, schema, newSealer(t))
	apply(t, s, lakeshore(), redrock())
	_, err := pool.Exec(t.Context(), postgres.In(schema, `UPDATE {schema}.credential SET sealed =
		(SELECT sealed FROM {schema}.credential WHERE tenant = 'lakeshore' AND vendor = 'skyslope') WHERE tenant = 'redrock'`))
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), postgres.In(schema, sqlChanged))
	require.NoError(t, err)
	require.NoError(t, s.refresh(t.Context()))
	stolen, _ := get(t, s, "redrock").Account("skyslope", "main")
	require.Empty(t, stolen.Credential.Fields)
	require.True(t, stolen.Health.Refused)
	require.Equal(t, causeSealed, stolen.Health.Cause)
	own, _ := get(t, s, "lakeshore").Account("skyslope", "main")
	require.NotEmpty(t, own.Credential.Fields, "the others go on")

	require.NotEmpty(t, apply(t, s, redrock()).Changes, "an apply mends it")
	mended, _ := get(t, s, "redrock").Account("skyslope", "main")
	require.Equal(t, "planted-other-key", mended.Credential.Fields["access_key"])
}

func TestProcessWithoutTheKeySeesNoSecretsAndWithAnotherKeyDoesNotStart(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	apply(t, open(t, pool, schema, newSealer(t)), lakeshore())
	blind := open(t, pool, schema, nil)
	got := get(t, blind, "lakeshore")
	require.Nil(t, got.PseudonymKey)
	require.Empty(t, got.Accounts[0].Credential.Fields)
	require.False(t, got.Accounts[0].Health.Refused)
	_, err := blind.Apply(t.Context(), []Wanted{lakeshore()}, "test")
	require.ErrorContains(t, err, "sealing key")
	_, err = blind.Diff(t.Context(), []Wanted{lakeshore()})
	require.ErrorContains(t, err, "sealing key")
	_, err = Open(t.Context(), pool, schema, newSealer(t))
	require.ErrorIs(t, err, ErrSealed)
}

func TestSealingKeyFileThatIsNoneSaysSoAndQuotesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	_, err := ReadSealingKey(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte(`{"planted": "secret"}`), 0o600))
	_, err = ReadSealingKey(path)
	require.ErrorContains(t, err, path)
	require.NotContains(t, err.Error(), "planted")
}

func TestCredentialPrintsAsNothing(t *testing.T) {
	t.Parallel()
	c := Credential{Fields: map[string]string{"k": "planted"}, AccessToken: "planted", RefreshToken: "planted"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(verb, c), "planted", verb)
		require.NotContains(t, fmt.Sprintf(verb, Account{Credential: c}), "planted", verb)
	}
}

func TestReaderOwnsWhatItGets(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, lakeshore())
	want := get(t, open(t, s.pool, s.schema, s.sealer), "lakeshore") // shares no memory
	got := get(t, s, "lakeshore")
	got.PseudonymKey[0]++
	got.Accounts[0].Credential.Fields["api_key"] = "changed"
	got.Accounts[0].Settings[0] = 'x'
	got.Accounts[1].Name = "changed"
	a := got.Adapters["followupboss"]
	a.Settings[0] = 'x'
	delete(got.Adapters, "followupboss")
	require.Equal(t, want, get(t, s, "lakeshore"))
}

func TestOtherProcessesSeeAChangeByThemselves(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	sealer := newSealer(t)
	writer, reader := open(t, pool, schema, sealer), open(t, pool, schema, sealer)
	apply(t, writer, lakeshore())
	require.Eventually(t, func() bool {
		_, err := reader.Tenant(t.Context(), "lakeshore")
		return err == nil
	}, testkit.Patience, testkit.Look)
	require.Less(t, lookEvery+lookTimeout, RefreshAfter)
	require.Less(t, reader.Age(), RefreshAfter)
}

func TestLastViewIsServedAndCountedWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	sealer := newSealer(t)
	apply(t, open(t, pool, schema, sealer), lakeshore())
	own, err := postgres.Open(t.Context(), testkit.PostgresURL(t), "test")
	require.NoError(t, err)
	s := open(t, own, schema, sealer)
	get(t, s, "lakeshore")
	require.Zero(t, testutil.ToFloat64(s.staleReads))
	own.Close()
	s.see(t.Context())
	s.age(time.Hour)
	get(t, s, "lakeshore")
	_, err = s.Tenants(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, int(testutil.ToFloat64(s.staleReads)))
	require.NotZero(t, testutil.ToFloat64(s.failedLooks))
	require.Greater(t, s.Age(), time.Hour)
	s.SetHealth(t.Context(), Account{Tenant: "lakeshore", Vendor: "skyslope", Name: "main"}, true, "x")
	require.Equal(t, 1, int(testutil.ToFloat64(s.failedNotes)))
	require.Equal(t, 4, testutil.CollectAndCount(s))
	problems, err := testutil.CollectAndLint(s)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestOpenWithoutTablesNamesTheMigration(t *testing.T) {
	t.Parallel()
	pool, schema := testkit.Schema(t)
	_, err := Open(t.Context(), pool, schema, nil)
	require.ErrorContains(t, err, "conveyance migrate")
}

func TestCloseEndsTheLookingAndReadsGoOn(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	apply(t, s, lakeshore())
	s.Close()
	s.Close()
	get(t, s, "lakeshore")
}

func TestCanonicalJSONIsStable(t *testing.T) {
	t.Parallel()
	require.Equal(t, canonical([]byte(`{"a":1,"b":[1,{"c":null}]}`)), canonical([]byte(` { "b" : [1, {"c":null}], "a":1 } `)))
	for _, empty := range []string{"", "null", "junk"} {
		require.Equal(t, "{}", string(canonical([]byte(empty))))
	}
}
