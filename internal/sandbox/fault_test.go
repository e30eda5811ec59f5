package sandbox_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const people = "/followupboss/v1/people"

func TestRefusingFaultsLeaveTheRequestUndone(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for fault, check := range map[string]func(a answer){
		"status:503":     func(a answer) { require.Equal(t, 503, a.status) },
		"retry-after:7":  func(a answer) { require.Equal(t, 429, a.status); require.Equal(t, "7", a.header.Get("Retry-After")) },
		"unauthorized":   func(a answer) { require.Equal(t, 401, a.status); require.Contains(t, string(a.body), "errorMessage") },
		"html":           func(a answer) { require.Equal(t, 200, a.status); require.Contains(t, string(a.body), "<html>") },
		"redirect:/away": func(a answer) { require.Equal(t, 301, a.status); require.Equal(t, "/away", a.header.Get("Location")) },
		"status:204":     func(a answer) { require.Equal(t, 204, a.status); require.Empty(t, a.body) },
	} {
		w.fault("followupboss", map[string]any{"fault": fault, "times": 1})
		check(w.call("POST", people, person("Mira", "mira@example.com", ""), crm("lakeshore")))
	}
	require.Empty(t, w.found("lakeshore", ""), "and nothing was done")
}

func TestFaultsStrikeWhomAndWhatTheyNameAsOftenAsTheySay(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fault("followupboss", map[string]any{"account": "lakeshore/main", "match": "GET /v1/pe*", "times": 2, "fault": "status:500"})
	w.want(200, "GET", people, nil, crm("redrock"))
	w.want(200, "GET", "/followupboss/v1/users", nil, crm("lakeshore"))
	w.want(201, "POST", people, person("Mira", "", ""), crm("lakeshore"))
	w.want(500, "GET", people, nil, crm("lakeshore"))
	left := w.control(200, "GET", "/followupboss/faults", nil).list(t)
	require.InDelta(t, 1, left[0]["times"], 0)
	w.want(500, "GET", people+"/1", nil, crm("lakeshore"))
	w.want(200, "GET", people, nil, crm("lakeshore"))
	require.Empty(t, w.control(200, "GET", "/followupboss/faults", nil).list(t))
}

func TestDeletedFaultsStrikeNoMore(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fault("followupboss", map[string]any{"fault": "unauthorized", "account": "lakeshore"})
	w.fault("followupboss", map[string]any{"fault": "unauthorized", "account": "redrock"})
	w.want(401, "GET", people, nil, crm("lakeshore"))
	w.control(204, "DELETE", "/followupboss/faults/1", nil)
	w.control(404, "DELETE", "/followupboss/faults/1", nil)
	w.want(200, "GET", people, nil, crm("lakeshore"))
	w.want(401, "GET", people, nil, crm("redrock"))
	w.control(204, "DELETE", "/followupboss/faults", nil)
	w.want(200, "GET", people, nil, crm("redrock"))
}

func TestSpoilingFaultsDoTheRequestAndSpoilTheAnswer(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	strike := func(fault, mail string) (answer, error) {
		w.fault("followupboss", map[string]any{"fault": fault, "times": 1})
		return w.try("POST", people, person("Mira", mail, ""), crm("lakeshore"))
	}
	_, err := strike("reset", "reset@example.com")
	require.Error(t, err)
	cut, err := strike("truncate", "truncate@example.com")
	require.NoError(t, err, "it looks whole")
	require.Equal(t, 201, cut.status)
	require.Error(t, json.Unmarshal(cut.body, new(any)))
	renamed, err := strike("rename:value=address", "rename@example.com")
	require.NoError(t, err)
	require.Equal(t, "rename@example.com", renamed.object(t)["emails"].([]any)[0].(map[string]any)["address"])
	retyped, err := strike("retype:id=string", "retype@example.com")
	require.NoError(t, err)
	require.IsType(t, "", retyped.object(t)["id"])
	require.Len(t, w.found("lakeshore", ""), 4)
	require.IsType(t, 0.0, w.found("lakeshore", "email=retype@example.com")[0].(map[string]any)["id"], "only the answer is spoilt")
}

func TestQuirksAreWrittenOverSpoiltAnswers(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.sale("lakeshore", "g", map[string]any{"status": "Pending", "escrowNumber": "a\u0001b"})
	h := w.login("lakeshore")
	w.fault("skyslope", map[string]any{"match": "GET /api/files/sales/*", "fault": "rename:status=transaction_status"})
	body := string(w.want(200, "GET", "/skyslope/api/files/sales/g", nil, h).body)
	require.Contains(t, body, `"transaction_status":"Pending"`)
	require.NotContains(t, body, `"status"`)
	require.Contains(t, body, "a\x01b")
}

func TestSlowAnswersCome(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fault("followupboss", map[string]any{"fault": "slow:0.05"})
	began := time.Now()
	w.want(201, "POST", people, person("Mira", "", ""), crm("lakeshore"))
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
}

func TestHungRequestsAreNeverAnsweredNorDone(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fault("followupboss", map[string]any{"fault": "hang", "times": 1})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+people, strings.NewReader(`{"firstName":"Mira"}`))
	require.NoError(t, err)
	req.Header = crm("lakeshore")
	_, err = http.DefaultClient.Do(req)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, w.found("lakeshore", ""))
	asked := w.control(200, "GET", "/followupboss/requests", nil).list(t)
	require.InDelta(t, 0, asked[0]["status"], 0)
	require.Equal(t, "hang", asked[0]["fault"])
}

func TestLateRequestsAreDoneAfterTheirTimeOut(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fault("followupboss", map[string]any{"fault": "late:0.05", "times": 1})
	w.want(504, "POST", people, person("Mira", "mira@example.com", ""), crm("lakeshore"))
	require.Eventually(t, func() bool { return len(w.found("lakeshore", "email=mira@example.com")) == 1 }, patience, look)
}

func TestLateRequestsAreDoneBeforeTheSandboxCloses(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fault("followupboss", map[string]any{"fault": "late:3600", "times": 1})
	w.want(504, "POST", people, person("Mira", "mira@example.com", ""), crm("lakeshore"))
	require.NoError(t, w.box.Close())
	require.Len(t, w.control(200, "GET", "/followupboss/people?tenant=lakeshore", nil).list(t), 1)
}

func TestStaleAnswersLagOneChangeBehind(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.sale("lakeshore", "g", map[string]any{"status": "Pre-Contract"})
	w.sale("lakeshore", "new", map[string]any{"status": "Incomplete"})
	w.sale("lakeshore", "g", map[string]any{"status": "Pending"})
	h := w.login("lakeshore")
	w.fault("skyslope", map[string]any{"fault": "stale", "times": 2})
	require.Contains(t, string(w.want(200, "GET", "/skyslope/api/files/sales/g", nil, h).body), `"status":"Pre-Contract"`)
	require.Contains(t, string(w.want(200, "GET", "/skyslope/api/files/sales/new", nil, h).body), `"status":"Incomplete"`)
	require.Contains(t, string(w.want(200, "GET", "/skyslope/api/files/sales/g", nil, h).body), `"status":"Pending"`)
}

func TestNewerAnswersAreOfAChangeThatNobodyHasHeardOf(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.sale("lakeshore", "g", map[string]any{"status": "Pending"})
	w.clock.move(time.Hour)
	h := w.login("lakeshore")
	modified := func(path string) string {
		_, rest, _ := strings.Cut(string(w.want(200, "GET", path, nil, h).body), `"modifiedOn":"`)
		return rest[:len("2006-01-02T15:04:05")]
	}
	before := modified("/skyslope/api/files/sales/g")
	w.fault("skyslope", map[string]any{"fault": "newer", "times": 1})
	after := modified("/skyslope/api/files/sales/g")
	require.Greater(t, after, before)
	require.Equal(t, after, modified("/skyslope/api/files/sales/g"), "and it stays")
	w.clock.move(time.Hour)
	w.fault("skyslope", map[string]any{"fault": "newer", "times": 1})
	require.Greater(t, modified("/skyslope/api/files?type=sale&modifiedAfter=2026-01-01T00:00:00.000"), after, "in a list too")
}

func TestClockOfAVendorMayBeWrong(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for fault, off := range map[string]time.Duration{"clock:-3600": -time.Hour, "clock:60": time.Minute} {
		w.fault("followupboss", map[string]any{"fault": fault, "times": 1})
		a := w.want(429, "GET", people, nil, crm("lakeshore"))
		said, err := http.ParseTime(a.header.Get("Date"))
		require.NoError(t, err)
		require.Equal(t, w.clock.Now().Add(off), said)
		until, err := http.ParseTime(a.header.Get("Retry-After"))
		require.NoError(t, err)
		require.Equal(t, 2*time.Second, until.Sub(said))
	}
}

func TestHugeAnswersGoOn(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fault("followupboss", map[string]any{"fault": "huge"})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+people, nil)
	require.NoError(t, err)
	req.Header = crm("lakeshore")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	n, err := io.CopyN(io.Discard, res.Body, 16<<20)
	require.NoError(t, err)
	require.EqualValues(t, 16<<20, n)
}

func TestFaultsThatNobodyKnowsAreRefused(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for _, f := range []any{
		map[string]any{"fault": "explode"},
		map[string]any{"fault": "status:99"},
		map[string]any{"fault": "status"},
		map[string]any{"fault": "slow:-1"},
		map[string]any{"fault": "rename:a"},
		map[string]any{"fault": "retype:a=colour"},
		map[string]any{"fault": "hang", "times": 0},
		map[string]any{"fault": "redirect:"},
		map[string]any{},
		"[]", "{", `{"fault":"hang"} {}`,
	} {
		require.Contains(t, w.control(400, "POST", "/skyslope/faults", f).object(t), "error")
	}
}
