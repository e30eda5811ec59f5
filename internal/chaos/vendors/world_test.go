package vendors_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"conveyance/consumers/consumerstest"
	"conveyance/internal/chaos/vendors"
	"conveyance/internal/sandbox"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

const (
	hmacKey = "planted-hmac-key-of-the-matrix"
	account = "main"
)

// world is the simulated vendors with a brokerage for each cell, which has an account at the cell's
// vendor and nowhere else.
type world struct {
	t      *testing.T
	box    *sandbox.Sandbox
	server *httptest.Server
	tenants
}

// tenants is a fixed directory, and the doors of its accounts.
type tenants map[string]tenant.Tenant

func (d tenants) Tenant(_ context.Context, id string) (tenant.Tenant, error) {
	t, ok := d[id]
	if !ok {
		return t, tenant.ErrUnknown
	}
	return t, nil
}

func (d tenants) Tenants(context.Context) ([]tenant.Tenant, error) {
	var all []tenant.Tenant
	for _, t := range d {
		all = append(all, t)
	}
	return all, nil
}

// Endpoint finds an account by its tenant's id, which is its token here.
func (d tenants) Endpoint(_ context.Context, vendor, token string) (tenant.Endpoint, bool) {
	t, ok := d[token]
	if !ok {
		return tenant.Endpoint{}, false
	}
	a, ok := t.Account(vendor, account)
	return tenant.Endpoint{Account: a, Keys: []tenant.WebhookKey{{ID: "k1", Key: []byte(hmacKey)}}}, ok
}

func open(t *testing.T, cells []vendors.Cell, scale float64) *world {
	t.Helper()
	w := &world{t: t, tenants: tenants{}}
	var simulated []sandbox.Tenant
	for _, c := range cells {
		simulated = append(simulated, sandbox.Tenant{ID: id(c), Name: id(c), Accounts: []sandbox.Account{{
			Vendor: c.Vendor, Name: account, ExternalID: uuid.NewSHA1(uuid.NameSpaceURL, []byte(id(c))).String(),
			Credential: map[string]string{
				"client_id": "client-" + id(c), "client_secret": "secret", "access_key": "key-" + id(c), "access_secret": "sign",
				"api_key": "fka-" + id(c), "x_system": "Conveyance", "x_system_key": "system", "hmac_key_1": hmacKey,
			},
		}}})
	}
	var err error
	w.box, err = sandbox.New(sandbox.Options{
		Tenants: simulated, TimeScale: scale, StrictDedupe: true, AutoConsent: true, WebhookRetry: time.Second,
	})
	require.NoError(t, err)
	w.server = httptest.NewServer(w.box.Handler())
	t.Cleanup(func() {
		w.server.CloseClientConnections()
		require.NoError(t, w.box.Close())
		w.server.Close()
	})
	for _, s := range simulated {
		a := s.Accounts[0]
		settings := `{"history_from":"` + time.Now().UTC().Format(time.DateOnly) + `"}`
		w.tenants[s.ID] = tenant.Tenant{
			ID: s.ID, Name: s.ID, TimeZone: "America/Chicago", PseudonymKey: pseudonyms(s.ID),
			Accounts: []tenant.Account{{
				Tenant: s.ID, Vendor: a.Vendor, Name: a.Name, ExternalID: a.ExternalID, BaseURL: w.server.URL + "/" + a.Vendor,
				Credential: tenant.Credential{Fields: a.Credential}, Settings: json.RawMessage(settings), WebhookToken: s.ID,
			}},
			Adapters: map[string]tenant.Adapter{"followupboss": {Account: account, EffectsFrom: consumerstest.Start}},
		}
	}
	return w
}

// pseudonyms is a tenant's own key: without it one person of two tenants would be one key of a topic.
func pseudonyms(tenant string) []byte {
	sum := sha256.Sum256([]byte(tenant))
	return sum[:]
}

// control makes a control call, without a network in between.
func (w *world) control(method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	rec := httptest.NewRecorder()
	w.box.Handler().ServeHTTP(rec, httptest.NewRequest(method, "/_control/"+path, bytes.NewReader(text)))
	if rec.Code >= 300 {
		return fmt.Errorf("controlling the vendors: %s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	if into == nil || rec.Body.Len() == 0 {
		return nil
	}
	return json.Unmarshal(rec.Body.Bytes(), into)
}

// strike arms a cell's fault, once or for ever.
func (w *world) strike(c vendors.Cell, f trouble) error {
	if f.fault == "" || f.hook && c.Vendor != "docusign" {
		return nil
	}
	body := map[string]any{"account": id(c), "match": match(c, f.hook), "fault": f.fault}
	if c.When != vendors.Forever {
		body["times"] = 1
	}
	return w.control(http.MethodPost, c.Vendor+"/faults", body, nil)
}

// requests are those of a cell's account above a number.
func (w *world) requests(c vendors.Cell, after int64) ([]sandbox.Request, error) {
	var all []sandbox.Request
	err := w.control(http.MethodGet, fmt.Sprintf("%s/requests?account=%s&after=%d", c.Vendor, id(c), after), nil, &all)
	return all, err
}

// tokens gives access tokens as DocuSign's account server does, to whom consents at once.
type tokens struct {
	base string
	mu   sync.Mutex
	all  map[string]string
}

func (k *tokens) Token(ctx context.Context, a tenant.Account) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if token := k.all[a.Key()]; token != "" {
		return token, nil
	}
	return k.consent(ctx, a)
}

func (k *tokens) Renew(ctx context.Context, a tenant.Account, _ string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.consent(ctx, a)
}

func (k *tokens) consent(ctx context.Context, a tenant.Account) (string, error) {
	token, err := k.walk(ctx, a.Credential.Fields)
	if err != nil {
		return "", verdict.RetryAfter(0, "no token", err)
	}
	k.all[a.Key()] = token
	return token, nil
}

func (k *tokens) walk(ctx context.Context, secret map[string]string) (string, error) {
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, to, body string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, k.base+to, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		if method == http.MethodPost {
			req.SetBasicAuth(secret["client_id"], secret["client_secret"])
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return browser.Do(req)
	}
	q := url.Values{
		"response_type": {"code"}, "client_id": {secret["client_id"]}, "scope": {"signature extended"},
		"redirect_uri": {"http://127.0.0.1/back"},
	}
	back, err := ask(http.MethodGet, "/oauth/auth?"+q.Encode(), "")
	if err != nil {
		return "", err
	}
	_ = back.Body.Close()
	to, err := url.Parse(back.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}}
	resp, err := ask(http.MethodPost, "/oauth/token", form.Encode())
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Access string `json:"access_token"`
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	return answer.Access, err
}

// clock is a time that passes scale times faster than ours.
type clock struct {
	base  time.Time
	scale float64
}

func (c clock) at(real time.Time) time.Time {
	return c.base.Add(time.Duration(float64(real.Sub(c.base)) * c.scale))
}
func (c clock) now() time.Time { return c.at(time.Now()) }

// scaled is a client in front of a stage whose clock is fast: the times that its verdicts name are on
// that clock.
type scaled struct {
	vendorhttp.Doer
	clock clock
}

func (s scaled) Do(ctx context.Context, a tenant.Account, r vendorhttp.Request) (vendorhttp.Response, error) {
	resp, err := s.Doer.Do(ctx, a, r)
	if v := verdict.Of(err); v != nil {
		moved := *v
		moved.After = time.Duration(float64(v.After) * s.clock.scale)
		if !v.Until.IsZero() {
			moved.Until = s.clock.at(v.Until)
		}
		return resp, &moved
	}
	return resp, err
}
