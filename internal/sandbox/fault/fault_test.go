package fault

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox/world"
)

func TestFaultsAreReadWithTheirArguments(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Effect{
		"status:503": {Kind: Status, Code: 503}, "retry-after:1.5": {Kind: RetryAfter, Wait: 1500 * time.Millisecond},
		"slow:0": {Kind: Slow}, "late": {Kind: Late, Wait: time.Second}, "late:0.1": {Kind: Late, Wait: 100 * time.Millisecond},
		"redirect:http://127.0.0.1:9/x": {Kind: Redirect, URL: "http://127.0.0.1:9/x"}, "hang": {Kind: Hang},
		"rename:status=transaction_status": {Kind: Rename, From: "status", To: "transaction_status"},
		"retype:salePrice=string":          {Kind: Retype, From: "salePrice", To: "string"},
		"clock:60":                         {Kind: Clock, Wait: time.Minute}, "clock:-1.5": {Kind: Clock, Wait: -1500 * time.Millisecond}, "newer": {Kind: Newer},
		"duplicate:2": {Kind: Duplicate, Code: 2}, "reorder": {Kind: Reorder},
	} {
		got, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", "explode", "status", "status:x", "status:600", "hang:1", "slow:", "slow:NaN", "slow:1e9", "redirect:", "redirect:a\nb",
		"rename:a", "rename:=b", "retype:a=", "retype:a=colour", "duplicate:0", "reorder:1", "clock", "clock:--1", "newer:1",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, "fault", text)
	}
}

func TestPatternsMatchMethodAndPath(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/api/files/sales/g-1?pageNumber=2", nil)
	for pattern, want := range map[string]bool{
		"": true, "GET /api/files/*": true, "GET /api/files/sales/g-1": true, "* /api/*": true, "*g-1": true, "*": true, "GET*sales*1": true,
		"GET *?pageNumber=2": true, "GET *?pageNumber=3": false, "POST /api/*": false, "GET /api/files": false, "GET": false, "*x*": false,
		"GET /api/files/sales/g-1*g-1": false,
	} {
		require.Equal(t, want, matches(pattern, r), pattern)
	}
}

func TestOlderFaultsStrikeFirst(t *testing.T) {
	t.Parallel()
	var b Book
	once := 1
	_, err := b.Add(Fault{Fault: "status:500", Times: &once})
	require.NoError(t, err)
	_, err = b.Add(Fault{Fault: "status:501", Account: "lakeshore"})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	codes := func(a world.Account) int { e, _ := b.Pick(a, r); return e.Code }
	mine := world.Account{Tenant: "lakeshore", Vendor: "v", Name: "main"}
	require.Equal(t, 500, codes(mine))
	require.Equal(t, 501, codes(mine))
	require.Equal(t, 0, codes(world.Account{}), "an unknown caller is struck by faults for all only")
	require.Equal(t, 1, once, "what was added is the caller's own")
}

func TestFaultsOfWebhooksStrikeNoRequestAndOthersNoWebhook(t *testing.T) {
	t.Parallel()
	var b Book
	once := 1
	for _, f := range []Fault{
		{Fault: "duplicate:2", Times: &once}, {Fault: "late:3", Match: "WEBHOOK envelope-*"}, {Fault: "status:500"},
	} {
		_, err := b.Add(f)
		require.NoError(t, err)
	}
	mine := world.Account{Tenant: "lakeshore", Vendor: "v", Name: "main"}
	e, _ := b.Pick(mine, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, Status, e.Kind)
	require.Equal(t, world.Strike{Copies: 2}, b.Webhook(mine, "envelope-sent"))
	require.Equal(t, world.Strike{After: 3 * time.Second}, b.Webhook(mine, "envelope-sent"))
	require.Zero(t, b.Webhook(mine, "recipient-sent"))
	_, err := b.Add(Fault{Fault: "status:500", Match: "WEBHOOK *"})
	require.Error(t, err)
}

func TestSpoiltAnswersKeepTheRest(t *testing.T) {
	t.Parallel()
	const body = `{"a":1.50,"list":[{"a":null},{"b":"x"}]}`
	for text, want := range map[string]string{
		"rename:a=c":      `{"c":1.50,"list":[{"c":null},{"b":"x"}]}`,
		"retype:a=string": `{"a":"1.50","list":[{"a":"null"},{"b":"x"}]}`,
		"retype:b=number": `{"a":1.50,"list":[{"a":null},{"b":42}]}`,
		"retype:b=null":   `{"a":1.50,"list":[{"a":null},{"b":null}]}`,
		"retype:b=array":  `{"a":1.50,"list":[{"a":null},{"b":["x"]}]}`,
		"retype:b=object": `{"a":1.50,"list":[{"a":null},{"b":{"value":"x"}}]}`,
		"truncate":        body,
	} {
		e, err := Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, string(e.Spoil([]byte(body))), text)
	}
	e, err := Parse("rename:a=b")
	require.NoError(t, err)
	require.Equal(t, "no json", string(e.Spoil([]byte("no json"))))
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"status:503", "late:0.5", "rename:a=b", "retype:x=string", "redirect:http://a/", "hang", ":", "rename:=="} {
		f.Add(seed, `{"a":[1,{"a":"b"}]}`)
	}
	f.Fuzz(func(t *testing.T, text, body string) {
		e, err := Parse(text)
		if err != nil {
			return
		}
		require.LessOrEqual(t, e.Wait, secondsMax*time.Second)
		require.True(t, e.Wait >= 0 || e.Kind == Clock)
		require.GreaterOrEqual(t, e.Wait, -secondsMax*time.Second)
		if json.Valid([]byte(body)) {
			require.True(t, json.Valid(e.Spoil([]byte(body))))
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("GET /api/*", "GET /api/files")
	f.Add("**a*", "aa")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if glob(pattern, text) {
			require.True(t, glob("*"+pattern, text) && glob(pattern+"*", text))
		}
	})
}
