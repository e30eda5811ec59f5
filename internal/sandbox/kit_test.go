package sandbox_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"conveyance/internal/sandbox"
)

const (
	// patience is how long a test waits for what must happen; look is how often it looks.
	patience = 30 * time.Second
	look     = 5 * time.Millisecond
)

// TestMain holds that a closed sandbox leaves no goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// tenants are two brokerages with an account at each vendor.
func tenants() []sandbox.Tenant {
	var out []sandbox.Tenant
	for _, id := range []string{"lakeshore", "redrock"} {
		out = append(out, sandbox.Tenant{
			ID: id, Name: id,
			Accounts: []sandbox.Account{
				{Vendor: "skyslope", Name: "main", ExternalID: "1", Credential: map[string]string{
					"client_id": "client-" + id, "client_secret": "secret-" + id, "access_key": "key-" + id, "access_secret": "sign-" + id,
				}},
				{Vendor: "followupboss", Name: "main", ExternalID: "2", Credential: map[string]string{
					"api_key": "fka-" + id, "x_system": "Conveyance", "x_system_key": "system-" + id,
				}},
			},
			FollowUpBoss: sandbox.FUBConfig{
				Stages:        map[string]string{"UNDER_CONTRACT": "Under Contract", "CLOSED": "Closed"},
				DealStages:    map[string]string{"PRE_CONTRACT": "Offer", "UNDER_CONTRACT": "Pending", "CLOSED": "Closed", "CANCELLED": "Fell Through", "EXPIRED": "Fell Through"},
				CreateMissing: true, ForwardOnly: true,
			},
		})
	}
	return out
}

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a sandbox behind a server.
type world struct {
	t     *testing.T
	box   *sandbox.Sandbox
	url   string
	clock *clock
}

func open(t *testing.T, change func(*sandbox.Options)) *world {
	t.Helper()
	c := newClock()
	o := sandbox.Options{Tenants: tenants(), Clock: c.Now}
	if change != nil {
		change(&o)
	}
	box, err := sandbox.New(o)
	require.NoError(t, err)
	srv := httptest.NewServer(box.Handler())
	t.Cleanup(func() {
		srv.CloseClientConnections()
		require.NoError(t, box.Close())
		srv.Close()
	})
	return &world{t: t, box: box, url: srv.URL, clock: c}
}

// answer is a response, read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) object(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal(a.body, &out), "%s", a.body)
	return out
}

func (a answer) list(t *testing.T) []map[string]any {
	t.Helper()
	var out []map[string]any
	require.NoError(t, json.Unmarshal(a.body, &out), "%s", a.body)
	return out
}

// call makes a request that must be answered.
func (w *world) call(method, path string, body any, header http.Header) answer {
	w.t.Helper()
	a, err := w.try(method, path, body, header)
	require.NoError(w.t, err)
	return a
}

func (w *world) try(method, path string, body any, header http.Header) (answer, error) {
	var text io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		text = bytes.NewBufferString(b)
	default:
		out, err := json.Marshal(b)
		require.NoError(w.t, err)
		text = bytes.NewReader(out)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, text)
	require.NoError(w.t, err)
	if header != nil {
		req.Header = header.Clone()
	}
	res, err := noRedirects().Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, header: res.Header, body: got}, err
}

func noRedirects() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// want makes a request whose status is known.
func (w *world) want(status int, method, path string, body any, header http.Header) answer {
	w.t.Helper()
	a := w.call(method, path, body, header)
	require.Equal(w.t, status, a.status, "%s %s: %s", method, path, a.body)
	return a
}

// control makes a control call.
func (w *world) control(status int, method, path string, body any) answer {
	w.t.Helper()
	return w.want(status, method, "/_control"+path, body, nil)
}

// sale writes a sale.
func (w *world) sale(tenant, guid string, patch map[string]any) map[string]any {
	w.t.Helper()
	return w.control(200, "PUT", "/skyslope/sales/"+guid+"?tenant="+tenant, patch).object(w.t)
}

// fault makes something go wrong.
func (w *world) fault(vendor string, f map[string]any) {
	w.t.Helper()
	w.control(201, "POST", "/"+vendor+"/faults", f)
}

// login returns a header with a session.
func (w *world) login(tenant string) http.Header {
	w.t.Helper()
	got := w.want(200, "POST", "/skyslope/auth/login", w.client(tenant), w.signed(tenant, w.clock.Now())).object(w.t)
	return http.Header{"Session": {got["Session"].(string)}}
}

func (w *world) client(tenant string) map[string]any {
	return map[string]any{"ClientID": "client-" + tenant, "ClientSecret": "secret-" + tenant}
}

func (w *world) signed(tenant string, at time.Time) http.Header {
	stamp := at.UTC().Format("2006-01-02T15:04:05Z")
	mac := hmac.New(sha256.New, []byte("sign-"+tenant))
	mac.Write([]byte("client-" + tenant + ":secret-" + tenant + ":" + stamp))
	return http.Header{
		"Authorization": {"ss key-" + tenant + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))}, "Timestamp": {stamp},
	}
}

// crm is the header of a registered system.
func crm(tenant string) http.Header {
	h := http.Header{"X-System": {"Conveyance"}, "X-System-Key": {"system-" + tenant}}
	h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("fka-"+tenant+":")))
	return h
}
