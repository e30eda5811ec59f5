package ingest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("conveyance/internal/devstack/child.Start.func1")) // testkit's Postgres
}

const signatureHeader = "X-Acme-Signature-1"

// acme is a vendor that signs with base64 of HMAC-SHA256 and says whose delivery it is.
type acme struct{}

func (acme) Verify(h http.Header, body []byte, keys []producers.Secret) (id string, err error) {
	theirs := []byte(h.Get(signatureHeader))
	err = errors.New("signed by nobody")
	for i := len(keys) - 1; i >= 0; i-- {
		if hmac.Equal([]byte(sign(keys[i].Key, body)), theirs) {
			id, err = keys[i].ID, nil
		}
	}
	return id, err
}

func (acme) Hints(body []byte) (d producers.Delivery, err error) {
	d.ID, d.Account, err = acme{}.Whose(body)
	return d, err
}

func (acme) Whose(body []byte) (id, account string, err error) {
	var b struct{ ID, Account string }
	err = json.Unmarshal(body, &b)
	return b.ID, b.Account, err
}

func sign(key, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// book is a directory and the endpoints of it.
type book struct {
	endpoints map[string]tenant.Endpoint
	zone      string
}

func (b book) Endpoint(_ context.Context, vendor, token string) (tenant.Endpoint, bool) {
	e, ok := b.endpoints[vendor+"/"+token]
	return e, ok
}

func (b book) Tenant(context.Context, string) (tenant.Tenant, error) {
	return tenant.Tenant{}, tenant.ErrUnknown
}

func (b book) Tenants(context.Context) ([]tenant.Tenant, error) {
	all := map[string]*tenant.Tenant{}
	var out []tenant.Tenant
	for _, e := range b.endpoints {
		t := all[e.Account.Tenant]
		if t == nil {
			t = &tenant.Tenant{ID: e.Account.Tenant, TimeZone: b.zone}
			all[e.Account.Tenant] = t
		}
		t.Accounts = append(t.Accounts, e.Account)
	}
	for _, t := range all {
		out = append(out, *t)
	}
	return out, nil
}

// planted are what no log may hold.
const (
	tokenLakeshore = "planted-token-of-lakeshore"
	tokenRedrock   = "planted-token-of-redrock"
	keyLakeshore   = "planted-key-of-lakeshore"
	keyRedrock     = "planted-key-of-redrock"
	person         = "planted.person@example.com"
)

func twoBrokerages() book {
	endpoint := func(name, external, key string) tenant.Endpoint {
		return tenant.Endpoint{
			Account: tenant.Account{Tenant: name, Vendor: "acme", Name: "main", ExternalID: external},
			Keys:    []tenant.WebhookKey{{ID: "k1", Key: []byte(key)}},
		}
	}
	return book{map[string]tenant.Endpoint{
		"acme/" + tokenLakeshore: endpoint("lakeshore", "A-1", keyLakeshore),
		"acme/" + tokenRedrock:   endpoint("redrock", "A-2", keyRedrock),
	}, "America/Chicago"}
}

// bus is a publisher of tests: it keeps what it is given, and acknowledges once nothing blocks it.
type bus struct {
	mu      sync.Mutex
	records []*event.WebhookReceived
	keys    []string
	err     error
	gate    chan struct{} // nil = open
}

func (b *bus) Publish(_ context.Context, key string, w *event.WebhookReceived, done func(error)) error {
	b.mu.Lock()
	gate, err := b.gate, b.err
	b.mu.Unlock()
	go func() {
		if gate != nil {
			<-gate
		}
		if err == nil {
			b.mu.Lock()
			b.records, b.keys = append(b.records, w), append(b.keys, key)
			b.mu.Unlock()
		}
		done(err)
	}()
	return nil
}

func (b *bus) all() ([]*event.WebhookReceived, []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records, b.keys
}

// house is a door and what is around it. Nothing of it needs Postgres until its watch runs.
type house struct {
	*Door
	bus     *bus
	logs    *observer.ObservedLogs
	metrics *prometheus.Registry
	now     time.Time
}

func build(t testing.TB, endpoints book, change ...func(*Config, *Deps)) *house {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	h := &house{bus: &bus{}, logs: logs, metrics: prometheus.NewRegistry(), now: time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)}
	cfg := Config{Now: func() time.Time { return h.now }, RejectAfter: time.Millisecond}
	deps := Deps{
		Endpoints: endpoints, Tenants: endpoints, Publish: h.bus, Log: zap.New(core), Metrics: h.metrics,
		Vendors: []producers.Vendor{{Name: "acme", Webhook: acme{}, Answer: 2 * time.Second}, {Name: "deaf"}},
	}
	for _, c := range change {
		c(&cfg, &deps)
	}
	d, err := New(cfg, deps)
	require.NoError(t, err)
	h.Door = d
	t.Cleanup(d.flying.Wait)
	return h
}

// request is a delivery; without a key it is not signed.
func request(method, path, key, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	if key != "" {
		r.Header.Set(signatureHeader, sign([]byte(key), []byte(body)))
	}
	return r
}

// bodyOf is a delivery of an account.
func bodyOf(id, account string) string {
	return `{"id":"` + id + `","account":"` + account + `","signer":"` + person + `"}`
}

func (h *house) send(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, r)
	return w.Result()
}

// deliver sends lakeshore's delivery, signed.
func (h *house) deliver(body string) *http.Response {
	return h.send(request(http.MethodPost, "/in/acme/"+tokenLakeshore, keyLakeshore, body))
}

// count is how many deliveries came to an outcome.
func (h *house) count(t testing.TB, outcome string) int {
	t.Helper()
	families, err := h.metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != "conveyance_webhook_deliveries_total" && f.GetName() != "conveyance_webhook_late_acks_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "outcome" && l.GetValue() == outcome && f.GetName() == "conveyance_webhook_deliveries_total" {
					return int(m.GetCounter().GetValue())
				}
				if outcome == "late:"+l.GetValue() && f.GetName() == "conveyance_webhook_late_acks_total" {
					return int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return 0
}
