package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"conveyance/internal/sandbox"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
)

// office is a brokerage with an account at the simulated DocuSign, applied, and a door that serves the
// callback.
type office struct {
	t                   *testing.T
	dir, postgres, door string
	sandbox             *httptest.Server
}

func newOffice(t *testing.T, keys string) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), postgres: testkit.Database(t)}
	box, err := sandbox.New(sandbox.Options{Tenants: []sandbox.Tenant{{ID: "lakeshore", Name: "Lakeshore Realty", Accounts: []sandbox.Account{{
		Vendor: "docusign", Name: "main", ExternalID: "8d0c6a52-1f4e-4b7e-9a3f-2c5de1f6a901",
		Credential: map[string]string{"client_id": "app", "client_secret": "planted-secret", "hmac_key_1": "planted-key"},
	}}}}})
	require.NoError(t, err)
	o.sandbox = httptest.NewServer(box.Handler())
	t.Cleanup(func() { o.sandbox.Close(); _ = box.Close() })
	sealing, err := tenant.NewSealingKey()
	require.NoError(t, err)
	for name, text := range map[string]string{
		"sealing.key": string(sealing), "d.json": `{"client_id": "app", "client_secret": "planted-secret"}`, "w.key": "planted-key\n",
		"tenants/lakeshore.yaml": `tenant: lakeshore
name: Lakeshore Realty
time_zone: America/Chicago
accounts:
  - vendor: docusign
    external_id: 8D0C6A52-1f4e-4b7e-9a3f-2c5de1f6a901
    base_url: ` + o.sandbox.URL + `/docusign
    credential: {file: ../d.json}
    settings: {oauth_base_url: ` + o.sandbox.URL + `/docusign}
` + keys,
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(o.dir, "tenants"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600))
	}
	require.NoError(t, migrateAll(t.Context(), o.postgres))
	o.serveDoor()
	o.must("tenant", "apply", "-f", filepath.Join(o.dir, "tenants"))
	return o
}

// serveDoor is a process of its own, with a view of its own.
func (o *office) serveDoor() {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	o.door = srv.URL
	g := &globals{PostgresURL: o.postgres, PublicURL: srv.URL, Dir: o.dir}
	store, pool, err := openTenants(o.t.Context(), g, filepath.Join(o.dir, "sealing.key"))
	require.NoError(o.t, err)
	tokens, servers, err := openTokens(g, store, pool, allowed{AllowLoopback: true}, nil)
	require.NoError(o.t, err)
	mux.Handle("/oauth/{vendor}/callback", tokens.Callback(zap.NewNop()))
	o.t.Cleanup(func() { srv.Close(); servers.Close(); store.Close(); pool.Close() })
}

func (o *office) args(words ...string) []string {
	return append(words, "--postgres", o.postgres, "--dir", o.dir, "--sealing-key", filepath.Join(o.dir, "sealing.key"),
		"--public-url", o.door, "--allow-loopback", "--json")
}

func (o *office) must(words ...string) []map[string]any {
	o.t.Helper()
	return lines(o.t, must(o.t, o.args(words...)...))
}

// said is a command's output that is read while it runs.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// link is the consent's, once it has been printed.
func (s *said) link() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.text.String()) {
		var l connection
		if json.Unmarshal([]byte(line), &l) == nil && l.Kind == "consent" {
			return l.Link
		}
	}
	return ""
}

const signedBy = "    webhook: {keys: [{id: k1, file: ../w.key}]}\n"

func TestConnectWaitsForThePersonAndMakesTheVendorSendItsWebhooks(t *testing.T) {
	t.Parallel()
	o := newOffice(t, signedBy)
	var out said
	ended := make(chan int, 1)
	go func() { ended <- run(t.Context(), o.args("tenant", "connect", "lakeshore"), &out, io.Discard) }()
	require.Eventually(t, func() bool { return out.link() != "" }, 20*time.Second, 10*time.Millisecond)
	resp, err := http.Get(out.link() + "&login_hint=lakeshore") // a browser, whose person consents
	require.NoError(t, err)
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "Connected: docusign of lakeshore works again, and what waited flows. You can close this page.\n", string(page))
	require.Zero(t, <-ended)

	var kinds []any
	said := lines(t, out.text.String())
	for _, l := range said {
		require.Equal(t, "lakeshore/docusign/main", l["account"])
		kinds = append(kinds, l["kind"])
	}
	require.Equal(t, []any{"webhook", "consent", "connected", "subscribed"}, kinds)
	require.True(t, strings.HasPrefix(said[0]["url"].(string), o.door+"/in/docusign/"))
	require.NotEmpty(t, said[3]["changed"])
	require.NotContains(t, out.text.String(), "planted")

	require.Empty(t, o.must("tenant", "check"))
	again := o.must("tenant", "connect", "lakeshore", "--account", "docusign/main")
	require.Len(t, again, 3, "nobody is asked")
	require.Nil(t, again[2]["changed"], "and nothing changed")
}

func TestConnectWithoutWaitingLeavesThePersonTheLinkAndSaysSo(t *testing.T) {
	t.Parallel()
	o := newOffice(t, signedBy)
	code, out, errs := call(t, o.args("tenant", "connect", "lakeshore", "--no-wait")...)
	require.Equal(t, exitFound, code, errs)
	require.Contains(t, out, `"kind":"consent"`)
	require.NotContains(t, out, "subscribed")
	code, _, errs = call(t, o.args("tenant", "connect", "lakeshore", "--account", "docusign/other")...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "no such account")

	list := o.must("tenant", "list")
	require.Equal(t, "reconnect", list[0]["state"])
	link := list[0]["link"].(string)
	require.True(t, strings.HasPrefix(link, o.door+"/oauth/docusign/callback?connect=lakeshore%2Fmain&key="), link)
	stop := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := stop.Get(link)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.True(t, strings.HasPrefix(resp.Header.Get("Location"), o.sandbox.URL+"/docusign/oauth/auth?"), "%d %v", resp.StatusCode, resp.Header)

	code, out, _ = call(t, o.args("tenant", "check")...)
	require.Equal(t, exitFound, code)
	require.Contains(t, out, "the vendor wants a person's consent")
	require.Contains(t, out, "&key=")
}

func TestCheckFindsThatNoWebhookKeyIsLive(t *testing.T) {
	t.Parallel()
	o := newOffice(t, strings.Replace(signedBy, "w.key}", "w.key, not_after: 2020-01-01T00:00:00Z}", 1))
	code, out, _ := call(t, o.args("tenant", "check")...)
	require.Equal(t, exitFound, code)
	require.Contains(t, out, "no webhook key is live: every delivery is refused")
	code, _, errs := call(t, o.args("tenant", "diff", "-f", filepath.Join(o.dir, "tenants"))...)
	require.Zero(t, code)
	require.Contains(t, errs, "warning: ")
	require.Contains(t, errs, "lakeshore.yaml:10:15: none of the keys is live now")
}
