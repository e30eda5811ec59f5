package followupboss_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/consumers/consumerstest"
	"conveyance/consumers/followupboss"
	"conveyance/internal/ledger"
	"conveyance/internal/sandbox"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
	"conveyance/internal/vendorhttp"
)

const settings = `{
  "stages": {"UNDER_CONTRACT": "Under Contract", "CLOSED": "Closed"},
  "deal_stages": {
    "PRE_CONTRACT": "Offer", "UNDER_CONTRACT": "Pending", "CLOSED": "Closed", "CANCELLED": "Fell Through"
  },
  "forward_only": true
}`

// world is the simulated CRM with one brokerage, and the adapter in front of it.
type world struct {
	t      *testing.T
	url    string
	tenant tenant.Tenant
	pool   *pgxpool.Pool
	schema string
	*followupboss.Adapter
}

func open(t *testing.T, settings string) *world {
	t.Helper()
	w := &world{t: t}
	credential := map[string]string{
		"api_key": "fka_lakeshore", "x_system": "Conveyance", "x_system_key": "key-of-the-system",
	}
	box, err := sandbox.New(sandbox.Options{Tenants: []sandbox.Tenant{{
		ID: "lakeshore",
		Accounts: []sandbox.Account{{
			Vendor: followupboss.Name, Name: "main", ExternalID: "58120", Credential: credential,
		}},
		FollowUpBoss: sandbox.FUBConfig{
			Stages:     map[string]string{"UNDER_CONTRACT": "Under Contract", "CLOSED": "Closed"},
			DealStages: map[string]string{"CANCELLED": "Fell Through"},
		},
	}}})
	require.NoError(t, err)
	srv := httptest.NewServer(box.Handler())
	client, err := vendorhttp.New(vendorhttp.Config{AllowLoopback: true})
	require.NoError(t, err)
	t.Cleanup(func() {
		client.Close()
		srv.CloseClientConnections()
		require.NoError(t, box.Close())
		srv.Close()
	})
	w.url = srv.URL
	w.tenant = consumerstest.Tenant(followupboss.Name, srv.URL+"/followupboss", settings)
	w.pool, w.schema = testkit.Schema(t)
	consumerstest.Migrate(t, w.schema, followupboss.Migrations())
	w.Adapter = followupboss.New(w.pool, w.schema, client)
	return w
}

// control makes a call of the sandbox's control and returns its JSON.
func (w *world) control(method, path string, body any) any {
	w.t.Helper()
	text, err := json.Marshal(body)
	require.NoError(w.t, err)
	target := w.url + "/_control/followupboss/" + path
	req, err := http.NewRequestWithContext(w.t.Context(), method, target, bytes.NewReader(text))
	require.NoError(w.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	require.Less(w.t, res.StatusCode, 300, "%s %s: %s", method, path, answer)
	if len(answer) == 0 {
		return nil
	}
	var out any
	require.NoError(w.t, json.Unmarshal(answer, &out))
	return out
}

// records are the account's records of a kind.
func (w *world) records(kind string) []map[string]any {
	w.t.Helper()
	var out []map[string]any
	for _, item := range w.control("GET", kind+"?tenant=lakeshore", nil).([]any) {
		out = append(out, item.(map[string]any))
	}
	return out
}

func (w *world) one(kind string) map[string]any {
	w.t.Helper()
	all := w.records(kind)
	require.Len(w.t, all, 1, kind)
	return all[0]
}

// requests are those that the CRM received, as method path.
func (w *world) requests(methods ...string) (out []string) {
	w.t.Helper()
	for _, item := range w.control("GET", "requests", nil).([]any) {
		r := item.(map[string]any)
		for _, m := range methods {
			if r["method"] == m {
				out = append(out, m+" "+r["path"].(string))
			}
		}
	}
	return out
}

func (w *world) fault(match, fault string, times int) {
	w.t.Helper()
	w.control("POST", "faults", map[string]any{"match": match, "fault": fault, "times": times})
}

// plan plans an event that has effects.
func (w *world) plan(e event.Event) []ledger.Effect {
	w.t.Helper()
	effects, err := w.Plan(w.t.Context(), w.tenant, e)
	require.NoError(w.t, err)
	return effects
}

// do plans an event and applies its one effect.
func (w *world) do(e event.Event) (ledger.Receipt, error) {
	w.t.Helper()
	effects := w.plan(e)
	require.Len(w.t, effects, 1)
	return w.Apply(w.t.Context(), w.tenant, e, effects[0])
}

func (w *world) mustDo(e event.Event) ledger.Receipt {
	w.t.Helper()
	r, err := w.do(e)
	require.NoError(w.t, err)
	return r
}

func (w *world) outcome(e event.Event) ledger.Outcome {
	w.t.Helper()
	effects := w.plan(e)
	require.Len(w.t, effects, 1)
	out, err := w.Confirm(w.t.Context(), w.tenant, e, effects[0])
	require.NoError(w.t, err)
	return out
}

// first returns the first event of a type.
func first[E event.Event](t *testing.T, events []event.Event) E {
	t.Helper()
	for _, e := range events {
		if typed, ok := e.(E); ok {
			return typed
		}
	}
	require.Fail(t, "no such event")
	panic("unreachable")
}

func TestSuite(t *testing.T) {
	t.Parallel()
	consumerstest.AdapterSuite{
		New: func(t *testing.T) consumerstest.Rig {
			w := open(t, settings)
			return consumerstest.Rig{
				Adapter: w, Tenant: w.tenant, Pool: w.pool, Schema: w.schema,
				Tables: []string{"person_link", "deal_link"},
				Writes: func() int { return len(w.requests("POST", "PUT", "DELETE")) },
			}
		},
		Events:   func(t tenant.Tenant) []event.Event { return consumerstest.Life(t, 2) },
		Personal: []string{"nora", "sam1", "weller", "harbor", "quill", "@", "555"},
	}.Run(t)
}

func values(list any) string {
	var out []string
	for _, item := range list.([]any) {
		out = append(out, item.(map[string]any)["value"].(string))
	}
	return strings.Join(out, " ")
}

const (
	patience = testkit.Patience
	look     = 200 * testkit.Look
)

func number(v any) string { return strconv.FormatFloat(v.(float64), 'f', -1, 64) }
