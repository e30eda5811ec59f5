package sandbox_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
)

func TestJournalHoldsEveryRequestInOrder(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	h := crm("lakeshore")
	h.Set("Idempotency-Key", "k-1")
	body := `{"firstName":"Mira"}`
	w.want(201, "POST", people, body, h)
	w.want(404, "GET", people+"/77?requestid=k-2", nil, crm("redrock"))
	w.want(401, "GET", people, nil, nil)

	all := w.control(200, "GET", "/followupboss/requests", nil).list(t)
	require.Len(t, all, 3)
	sum := sha256.Sum256([]byte(body))
	want := map[string]any{
		"n": all[0]["n"], "at": "2026-03-01T12:00:00Z", "account": "lakeshore/main", "method": "POST", "path": "/v1/people",
		"status": 201.0, "key": "k-1", "body_sha256": hex.EncodeToString(sum[:]),
	}
	require.Equal(t, want, all[0])
	require.Equal(t, "k-2", all[1]["key"])
	require.Equal(t, "requestid=k-2", all[1]["query"])
	require.Empty(t, all[2]["account"])
	require.InDelta(t, 401, all[2]["status"], 0)
	for query, n := range map[string]int{
		"?account=lakeshore": 1, "?account=redrock/main": 1, "?account=redrock/other": 0,
		fmt.Sprintf("?after=%.0f", all[0]["n"]): 2, fmt.Sprintf("?account=lakeshore&after=%.0f", all[0]["n"]): 0,
	} {
		require.Len(t, w.control(200, "GET", "/followupboss/requests"+query, nil).list(t), n, query)
	}
	require.Empty(t, w.control(200, "GET", "/skyslope/requests", nil).list(t))
	w.control(400, "GET", "/skyslope/requests?after=x", nil)
}

func TestRecordsAreMergedReadAndDeleted(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	made := w.control(200, "PUT", "/followupboss/people/500?tenant=lakeshore/main", person("Mira", "mira@example.com", "")).object(t)
	require.Equal(t, "Lead", made["stage"])
	w.control(200, "PUT", "/followupboss/people/500?tenant=lakeshore", map[string]any{"stage": "Closed"})
	got := w.control(200, "GET", "/followupboss/people/500?tenant=lakeshore", nil).object(t)
	require.Equal(t, "Mira Holt", got["name"])
	require.Equal(t, "Closed", got["stage"])
	next := w.create("lakeshore", "/people", person("Otis", "", ""))
	require.Greater(t, next["id"], 500.0, "a new id meets no chosen one")
	w.control(204, "DELETE", "/followupboss/people/500?tenant=lakeshore", nil)
	w.control(404, "DELETE", "/followupboss/people/500?tenant=lakeshore", nil)
	w.control(404, "GET", "/followupboss/people/500?tenant=lakeshore", nil)
	w.want(404, "GET", people+"/500", nil, crm("lakeshore"))
	require.Len(t, w.control(200, "GET", "/followupboss/people?tenant=lakeshore", nil).list(t), 1)
}

func TestControlCallsThatNameNothingSaySo(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.control(404, "GET", "/dotloop/requests", nil)
	w.control(404, "GET", "/skyslope/envelopes/1?tenant=lakeshore", nil)
	w.control(404, "PUT", "/skyslope/envelopes/1?tenant=lakeshore", map[string]any{})
	require.Contains(t, w.control(400, "PUT", "/skyslope/sales/g", map[string]any{}).object(t)["error"], "which tenant")
	w.control(400, "PUT", "/skyslope/sales/g?tenant=nobody", map[string]any{})
	w.control(400, "PUT", "/skyslope/sales/g?tenant=lakeshore", "[]")
	w.control(400, "PUT", "/skyslope/sales/g?tenant=lakeshore", "null")
	w.control(400, "PUT", "/followupboss/people/abc?tenant=lakeshore", map[string]any{})
	w.control(400, "PUT", "/followupboss/people/9007199254740993?tenant=lakeshore", map[string]any{})
	w.control(400, "PUT", "/followupboss/people/1?tenant=lakeshore", map[string]any{"stage": "Nowhere"})
}

func TestTenantsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(ts []sandbox.Tenant){
		"same access key": func(ts []sandbox.Tenant) { ts[1].Accounts[0].Credential = ts[0].Accounts[0].Credential },
		"same api key":    func(ts []sandbox.Tenant) { ts[1].Accounts[1].Credential = ts[0].Accounts[1].Credential },
		"no secret":       func(ts []sandbox.Tenant) { delete(ts[0].Accounts[0].Credential, "access_secret") },
		"no api key":      func(ts []sandbox.Tenant) { delete(ts[0].Accounts[1].Credential, "api_key") },
		"unknown vendor":  func(ts []sandbox.Tenant) { ts[0].Accounts[0].Vendor = "acme" },
		"same tenant":     func(ts []sandbox.Tenant) { ts[0].Accounts, ts[1].ID = nil, ts[0].ID },
		"no name":         func(ts []sandbox.Tenant) { ts[0].Accounts[0].Name = "" },
	} {
		ts := tenants()
		spoil(ts)
		_, err := sandbox.New(sandbox.Options{Tenants: ts})
		require.Error(t, err, name)
	}
}

func TestEverythingAtOnceIsSafe(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.sale("lakeshore", "g", nothing())
	h := w.login("lakeshore")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 20 {
				for _, c := range []struct{ method, path string }{
					{"PUT", fmt.Sprintf("/_control/skyslope/sales/g-%d?tenant=lakeshore", n)},
					{"POST", "/_control/followupboss/faults"},
					{"DELETE", "/_control/followupboss/faults"},
					{"GET", "/skyslope/api/files"},
					{"POST", people},
					{"GET", "/_control/truth"},
					{"GET", "/_control/skyslope/requests"},
				} {
					var body any
					switch {
					case c.method == "PUT", c.path == people:
						body = map[string]any{"firstName": strconv.Itoa(i)}
					case c.method == "POST":
						body = map[string]any{"fault": "stale", "times": 3}
					}
					header := crm("lakeshore")
					header["Session"] = h["Session"]
					if _, err := w.try(c.method, c.path, body, header); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}
