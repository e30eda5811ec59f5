package tenantfile_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/tenant"
	"conveyance/internal/tenant/tenantfile"
	"conveyance/internal/vendorhttp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// contract is a small one of the shape that vendors and destinations give.
func contract() tenantfile.Contract {
	env := map[string]string{"LAKESHORE_FUB": `{"api_key": "planted-api-key"}`, "LAKESHORE_FUB_KEY": "planted-second-key="}
	return tenantfile.Contract{
		Accounts: map[string][]byte{
			"skyslope": []byte(`{"properties": {"credential": {"type": "object", "additionalProperties": false,
				"required": ["access_key", "access_secret"],
				"properties": {"access_key": {"type": "string"}, "access_secret": {"type": "string", "minLength": 10}}}}}`),
			"followupboss": []byte(`{"properties": {
				"credential": {"$ref": "#/$defs/credential"},
				"settings": {"additionalProperties": false, "properties": {"page": {"type": "integer"}}}},
				"$defs": {"credential": {"required": ["api_key"], "properties": {"api_key": {"type": "string"}}}}}`),
		},
		Adapters: map[string]tenantfile.Adapter{
			"followupboss": {Vendor: "followupboss", Settings: []byte(`{"additionalProperties": false, "properties": {
				"stages": {"propertyNames": {"enum": ["UNDER_CONTRACT", "CLOSED"]}, "additionalProperties": {"type": "string"}},
				"mode": {"enum": ["fast", "slow"]},
				"create_missing": {"type": "boolean"}, "forward_only": {"type": "boolean"}}}`)},
			"ledger": {},
		},
		Webhooks:  map[string]bool{"followupboss": true},
		CheckBase: func(base string) error { return vendorhttp.CheckBase(base, vendorhttp.Config{}) },
		Now:       func() time.Time { return time.Date(2026, 12, 15, 0, 0, 0, 0, time.UTC) },
		Env:       func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}
}

func load(t *testing.T, path string) []tenantfile.File {
	t.Helper()
	files, err := tenantfile.Load(path)
	require.NoError(t, err)
	return files
}

func TestFileIsUnderstoodWhole(t *testing.T) {
	t.Parallel()
	got, err := tenantfile.Read(load(t, "testdata/good"), contract())
	require.NoError(t, err)
	at := func(line, column int) tenant.Place {
		return tenant.Place{File: "testdata/good/lakeshore.yaml", Line: line, Column: column}
	}
	require.Len(t, got, 3)
	ends, begins := got[1].Accounts[1].Keys[0].NotAfter, got[1].Accounts[1].Keys[1].NotBefore
	require.True(t, ends.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)))
	require.True(t, begins.Equal(time.Date(2026, 12, 1, 6, 0, 0, 0, time.UTC)))
	from := got[1].Adapters["followupboss"].EffectsFrom
	require.True(t, from.Equal(time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC)))
	require.Equal(t, tenant.Wanted{
		ID: "lakeshore", Name: "Lakeshore Realty", TimeZone: "America/Chicago", At: at(2, 9),
		Accounts: []tenant.WantedAccount{
			{
				Vendor: "skyslope", Name: "main", ExternalID: "20417", BaseURL: "https://api.skyslope.com", Settings: []byte("{}"),
				Credential: map[string]string{"access_key": "planted-access-key", "access_secret": "planted-access-secret"},
				Source:     "file ../secrets/skyslope.json", At: at(7, 18),
			},
			{
				Vendor: "followupboss", Name: "main", ExternalID: "58120", BaseURL: "https://api.followupboss.com/v1",
				Settings: []byte(`{"page":100}`), Credential: map[string]string{"api_key": "planted-api-key"},
				Source: "env LAKESHORE_FUB", At: at(12, 18),
				Keys: []tenant.WantedWebhookKey{
					{ID: "k1", Key: []byte("cGxhbnRlZC1zaWduaW5nLWtleQ=="), NotAfter: ends, Source: "file ../secrets/signing.key"}, // as it stands there
					{ID: "k2", Key: []byte("planted-second-key="), NotBefore: begins, Source: "env LAKESHORE_FUB_KEY"},
				},
			},
		},
		Adapters: map[string]tenant.WantedAdapter{
			"followupboss": {
				Account: "main", EffectsFrom: from, At: at(24, 19),
				Settings: []byte(`{"create_missing":false,"stages":{"CLOSED":"Closed","UNDER_CONTRACT":"Under Contract"}}`),
			},
			"ledger": {Settings: []byte("{}"), At: at(28, 3)},
		},
	}, got[1])
	require.Equal(t, "redrock", got[2].ID)
	require.Equal(t, tenant.Wanted{
		System: "followupboss", At: tenant.Place{File: "testdata/good/followupboss.yaml", Line: 2, Column: 9},
		Keys: []tenant.WantedWebhookKey{{ID: "s1", Key: []byte("planted-second-key="), Source: "env LAKESHORE_FUB_KEY"}},
	}, got[0])
}

func TestKeysOfWhichNoneIsLiveWarnAndAreTaken(t *testing.T) {
	t.Parallel()
	c := contract()
	for at, live := range map[string]bool{"2026-11-01": true, "2026-12-15": true, "2027-02-01": true, "2028-01-01": false} {
		now, err := time.Parse(time.DateOnly, at)
		require.NoError(t, err)
		c.Now = func() time.Time { return now }
		files := load(t, "testdata/good/lakeshore.yaml")
		if !live {
			files[0].Data = []byte(strings.Replace(string(files[0].Data), "not_before: 2026-12-01", "not_before: 2030-01-01", 1))
		}
		got, err := tenantfile.Read(files, c)
		require.NoError(t, err)
		require.Len(t, got[0].Accounts[1].Keys, 2)
		if live {
			require.Empty(t, got[0].Warnings, at)
			continue
		}
		require.Len(t, got[0].Warnings, 1)
		require.Equal(t, "testdata/good/lakeshore.yaml:18:7: none of the keys is live now: every delivery that they sign is refused: "+
			"add a key, or correct not_before and not_after", got[0].Warnings[0].String())
	}
}

func TestEveryProblemOfEveryFileIsToldAtOnceWithItsPlaceAndRemedy(t *testing.T) {
	t.Parallel()
	_, err := tenantfile.Read(load(t, "testdata/bad"), contract())
	problems, ok := errors.AsType[tenant.Problems](err)
	require.True(t, ok, err)
	got := problems.Error() + "\n"
	require.NotContains(t, got, "planted")
	golden := "testdata/problems.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestSecretNeverStandsInAProblem(t *testing.T) {
	t.Parallel()
	c := contract()
	for _, secret := range []string{
		`{"api_key": 5, "planted": 7}`, `{"planted`, `planted`, `["planted"]`, `{}`, `{"other": "planted"}`, `{"api_key": {"planted": "planted"}}`,
	} {
		c.Env = func(string) (string, bool) { return secret, true }
		_, err := tenantfile.Read(load(t, "testdata/good/lakeshore.yaml"), c)
		require.Error(t, err, secret)
		require.NotContains(t, err.Error(), "planted", secret)
	}
}

func TestHostileFilesAreRefusedQuickly(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "comment": "# nothing\n", "scalar": "5", "list": "- a\n",
		"brackets": strings.Repeat("[", 100_000), "braces": strings.Repeat("{a: ", 50_000), "dashes": strings.Repeat("- ", 100_000),
		"large": strings.Repeat("# padding\n", 30_000), "indents": ladder(200),
		"laughs": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "merge": "a: {b: 1}\n<<: {c: 2}\n", "tag": "tenant: !!binary aGk=\n",
		"two documents": "tenant: a\n---\ntenant: b\n", "twice": "tenant: a\ntenant: b\n", "number": "tenant: 99999999999999999999\n",
		"nan": "tenant: .nan\n", "control": "tenant: \"\x00\"\n", "utf8": "tenant: \xff\xfe\n", "odd key": "? [a]\n: b\n",
	} {
		start := time.Now()
		_, err := tenantfile.Read([]tenantfile.File{{Name: name + ".yaml", Data: []byte(text)}}, contract())
		require.Error(t, err, name)
		require.Contains(t, err.Error(), name+".yaml", name)
		require.Less(t, time.Since(start), 5*time.Second, name)
	}
}

func ladder(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestFolderWithoutFilesAndMissingPathAreErrors(t *testing.T) {
	t.Parallel()
	_, err := tenantfile.Load(t.TempDir())
	require.ErrorContains(t, err, "no *.yaml in")
	_, err = tenantfile.Load(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestBrokenContractIsNotTheFilesFault(t *testing.T) {
	t.Parallel()
	c := contract()
	c.Accounts["skyslope"] = []byte(`{"type": 5}`)
	_, err := tenantfile.Read(nil, c)
	require.ErrorContains(t, err, "account skyslope")
	_, is := errors.AsType[tenant.Problems](err)
	require.False(t, is)
}

func FuzzTenantFile(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		names, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, name := range names {
			data, err := os.ReadFile(name)
			require.NoError(f, err)
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := contract()
		c.Env = func(string) (string, bool) { return `{"api_key": "x"}`, true }
		got, err := tenantfile.Read([]tenantfile.File{{Name: "testdata/good/lakeshore.yaml", Data: data}}, c)
		if err != nil {
			problems, ok := errors.AsType[tenant.Problems](err)
			require.True(t, ok, err)
			for _, p := range problems {
				require.NotEmpty(t, p.What)
				require.NotEmpty(t, p.Remedy)
			}
			return
		}
		require.Len(t, got, 1)
		if got[0].System != "" {
			return
		}
		require.Equal(t, "lakeshore", got[0].ID)
		require.NotEmpty(t, got[0].TimeZone)
	})
}
