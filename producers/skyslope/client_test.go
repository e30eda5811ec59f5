package skyslope_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

// scripted is a vendor whose list a test writes; logins and users are always right.
type scripted struct {
	logins, calls atomic.Int64
	mu            sync.Mutex
	queries       []string
	session       atomic.Value // the one that is good; empty = any
	files         http.HandlerFunc
	users         http.HandlerFunc
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/auth/login":
		n := s.logins.Add(1)
		write(w, fmt.Sprintf(`{"Session":"s%d","Expiration":%q}`, n, time.Now().Add(2*time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")))
	case s.session.Load() != nil && r.Header.Get("Session") != s.session.Load().(string):
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/api/users" && s.users != nil:
		s.users(w, r)
	case r.URL.Path == "/api/users":
		write(w, `{"value":{"users":[]}}`)
	default:
		s.calls.Add(1)
		s.mu.Lock()
		s.queries = append(s.queries, r.URL.RawQuery)
		s.mu.Unlock()
		s.files(w, r)
	}
}

func script(t *testing.T, files http.HandlerFunc) (*scripted, producers.Vendor, tenant.Account) {
	t.Helper()
	s := &scripted{files: files}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, reaching(t, srv.URL), tenant.Account{
		Tenant: "lakeshore", Vendor: "skyslope", Name: "main", BaseURL: srv.URL,
		Credential: tenant.Credential{Fields: map[string]string{
			"client_id": "c", "client_secret": "planted-secret", "access_key": "k", "access_secret": "planted-key",
		}},
	}
}

func write(w io.Writer, text string) {
	_, _ = io.WriteString(w, text) // the caller hung up: nobody to tell
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { write(w, body) }
}

func sale(guid string, at time.Time) string {
	return fmt.Sprintf(`{"objectType":"sale","saleGuid":%q,"status":"Pending","modifiedOn":%q}`, guid, at.UTC().Format("2006-01-02T15:04:05.000"))
}

// recently lists sales modified in the last minutes.
func recently(guids ...string) string {
	var files []string
	for i, g := range guids {
		files = append(files, sale(g, time.Now().Add(time.Duration(i-60)*time.Second)))
	}
	return `{"value":[` + strings.Join(append(files, `{"objectType":"summary","numberOfSales":2}`), ",") + `]}`
}

// incremental is a cursor of an account whose history is read.
func incremental() producers.Cursor {
	return producers.Cursor(fmt.Sprintf(`{"after":%q}`, time.Now().UTC().Add(-time.Hour).Format("2006-01-02T15:04:05.000")))
}

func pollAll(t *testing.T, v producers.Vendor, a tenant.Account, since producers.Cursor) ([]string, producers.Cursor, error) {
	t.Helper()
	var guids []string
	next, err := v.Poller.Poll(t.Context(), a, since, func(c producers.Change) error {
		guids = append(guids, c.Resource.ID)
		return nil
	})
	return guids, next, err
}

func TestASessionIsSharedAndLoggedInOnce(t *testing.T) {
	t.Parallel()
	s, v, a := script(t, answer(recently("x")))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := v.Poller.Poll(t.Context(), a, incremental(), func(producers.Change) error { return nil })
			require.NoError(t, err)
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, s.logins.Load())
}

func TestARefusedSessionIsRenewedOnceWithoutRefusingTheAccount(t *testing.T) {
	t.Parallel()
	s, v, a := script(t, answer(recently("x")))
	s.session.Store("s1")
	_, _, err := pollAll(t, v, a, incremental())
	require.NoError(t, err)
	s.session.Store("s2") // the vendor ended s1
	_, _, err = pollAll(t, v, a, incremental())
	require.NoError(t, err)
	require.EqualValues(t, 2, s.logins.Load())
}

func TestAnAccountWhoseNewSessionIsRefusedIsHeld(t *testing.T) {
	t.Parallel()
	s, v, a := script(t, answer(""))
	s.session.Store("never")
	_, next, err := pollAll(t, v, a, incremental())
	require.Nil(t, next)
	require.Equal(t, verdict.Hold, verdict.Of(err).Kind)
	require.Equal(t, verdict.AccountScope("lakeshore", "skyslope", "main"), verdict.Of(err).Scope)
	require.EqualValues(t, 2, s.logins.Load(), "renewed once, not for ever")
	require.NotContains(t, err.Error(), "planted")

	findings, err := v.Checker.Check(t.Context(), tenant.Tenant{ID: "lakeshore"}, a)
	require.NoError(t, err)
	require.Len(t, findings, 1)
}

func TestAnotherCredentialLogsInAnew(t *testing.T) {
	t.Parallel()
	s, v, a := script(t, answer(recently("x")))
	_, _, err := pollAll(t, v, a, incremental())
	require.NoError(t, err)
	a.Credential.Fields = map[string]string{"client_id": "c", "client_secret": "other", "access_key": "k", "access_secret": "other"}
	_, _, err = pollAll(t, v, a, incremental())
	require.NoError(t, err)
	require.EqualValues(t, 2, s.logins.Load())
}

func TestALoginOfUnknownOutcomeIsARetry(t *testing.T) {
	t.Parallel()
	_, v, a := script(t, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(srv.Close)
	a.BaseURL = srv.URL
	_, _, err := pollAll(t, v, a, incremental())
	require.Equal(t, verdict.Retry, verdict.Of(err).Kind)
	require.NotContains(t, err.Error(), "planted")
}

func TestSalesComeOldestFirstWhateverTheListsOrderAndForm(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(-time.Minute)
	x, y := sale("x", at), sale("y", at.Add(-time.Second))
	for name, body := range map[string]string{
		"bare array":   "\xef\xbb\xbf[" + x + "," + y + "]",
		"value array":  `{"value":[` + x + `,` + y + `]}`,
		"value object": `{"value":{"sales":[` + x + "," + y + `]},"links":[]}`,
		"controls":     "{\"value\":[" + strings.Replace(x, "Pending", "Pend\x01ing", 1) + "," + y + "]}",
	} {
		_, v, a := script(t, answer(body))
		guids, _, err := pollAll(t, v, a, incremental())
		require.NoError(t, err, name)
		require.Equal(t, []string{"y", "x"}, guids, name)
	}
}

func TestPagesAreAskedByNumberNeverByTheirLink(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(-time.Minute)
	s, v, a := script(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("pageNumber") {
		case "":
			write(w, `{"value":{"sales":[`+sale("x", at)+`]},"links":[{"href":"http://169.254.169.254/","rel":"next"}]}`)
		case "2":
			write(w, `{"value":{"sales":[`+sale("y", at.Add(time.Second))+`]},"links":[{"href":"/","rel":"self"}]}`)
		}
	})
	guids, _, err := pollAll(t, v, a, incremental())
	require.NoError(t, err)
	require.Equal(t, []string{"x", "y"}, guids)
	require.EqualValues(t, 2, s.calls.Load())
}

func TestAListThatNeverEndsIsAnError(t *testing.T) {
	t.Parallel()
	_, v, a := script(t, answer(`{"value":{"sales":[`+sale("x", time.Now())+`]},"links":[{"rel":"next"}]}`))
	_, _, err := pollAll(t, v, a, incremental())
	require.ErrorContains(t, err, "vendor list has no end")
}

func TestTheFirstPollReadsAllOfHistoryInFewCalls(t *testing.T) {
	t.Parallel()
	old := time.Date(2014, 5, 6, 7, 8, 9, 0, time.UTC)
	s, v, a := script(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		after, before := q.Get("modifiedAfter"), q.Get("modifiedBefore")
		at := old.Format("2006-01-02T15:04:05.000")
		if at > after && (before == "" || at < before) {
			write(w, `[`+sale("old", old)+`]`)
			return
		}
		write(w, `[]`)
	})
	guids, next, err := pollAll(t, v, a, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"old"}, guids)
	require.Less(t, s.calls.Load(), int64(40))
	s.calls.Store(0)
	_, _, err = pollAll(t, v, a, next)
	require.NoError(t, err)
	require.EqualValues(t, 1, s.calls.Load(), "the next poll does not begin in 2010 again")

	a.Settings = json.RawMessage(`{"history_from":"2020-01-01"}`)
	guids, _, err = pollAll(t, v, a, nil)
	require.NoError(t, err)
	require.Empty(t, guids)
}

func TestAWindowThatIsTooLargeIsHalved(t *testing.T) {
	t.Parallel()
	var widths []time.Duration
	reached := false
	_, v, a := script(t, func(w http.ResponseWriter, r *http.Request) {
		from, err := time.Parse("2006-01-02T15:04:05.000", r.URL.Query().Get("modifiedAfter"))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		to, err := time.Parse("2006-01-02T15:04:05.000", r.URL.Query().Get("modifiedBefore"))
		if err != nil { // no end: the last one
			reached = true
			write(w, `[]`)
			return
		}
		widths = append(widths, to.Sub(from))
		if to.Sub(from) > 100*24*time.Hour {
			_, _ = w.Write(slices.Repeat([]byte(" "), 11<<20))
			return
		}
		write(w, `[]`)
	})
	a.Settings = json.RawMessage(`{"history_from":"` + time.Now().AddDate(-1, 0, 0).Format(time.DateOnly) + `"}`)
	_, _, err := pollAll(t, v, a, nil)
	require.NoError(t, err)
	require.Greater(t, slices.Max(widths), 100*24*time.Hour)
	require.True(t, reached, "one poll gets to the end")
}

func TestAListThatIsTooLargeHoweverSmallItsWindowIsNoPollThatWentWell(t *testing.T) {
	t.Parallel()
	s, v, a := script(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(slices.Repeat([]byte(" "), 11<<20)) })
	for _, since := range []producers.Cursor{incremental(), nil} {
		s.calls.Store(0)
		_, next, err := pollAll(t, v, a, since)
		require.Nil(t, next)
		require.Equal(t, "vendor answer too large", verdict.Of(err).Cause)
		require.LessOrEqual(t, s.calls.Load(), int64(12), "from a day down to a minute")
		if since != nil {
			require.EqualValues(t, 1, s.calls.Load(), "the last window has no end to be moved")
		}
	}
}

func TestWhatWasReadBeforeAFailureIsKept(t *testing.T) {
	t.Parallel()
	var fail atomic.Bool
	fail.Store(true)
	_, v, a := script(t, func(w http.ResponseWriter, r *http.Request) {
		if fail.Load() && r.URL.Query().Get("modifiedAfter") > "2016" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		write(w, `[]`)
	})
	_, next, err := pollAll(t, v, a, nil)
	require.NoError(t, err, "it got somewhere")
	require.Contains(t, string(next), `"after":"201`)
	_, none, err := pollAll(t, v, a, next)
	require.Equal(t, verdict.Retry, verdict.Of(err).Kind, "it got nowhere")
	require.Nil(t, none)
	fail.Store(false)
	_, next, err = pollAll(t, v, a, next)
	require.NoError(t, err)
	require.Contains(t, string(next), `"after":"2`)
}

func TestASaleWithoutNameOrTimeIsLoudAndHidesNoOther(t *testing.T) {
	t.Parallel()
	good := sale("good", time.Now().Add(-time.Minute))
	for path, bad := range map[string]string{
		"/saleGuid":   strings.Replace(good, "saleGuid", "sale_guid", 1),
		"/modifiedOn": strings.Replace(good, "modifiedOn", "changed", 1),
	} {
		_, v, a := script(t, answer(`[`+bad+`,`+good+`]`))
		guids, next, err := pollAll(t, v, a, incremental())
		require.Equal(t, []string{"good"}, guids)
		require.Nil(t, next, "the cursor stays in front of it")
		require.Equal(t, "contract broken: "+path, verdict.Of(err).Cause)
	}
}

func TestATimeInTheFutureDoesNotHideWhatComesBeforeIt(t *testing.T) {
	t.Parallel()
	s, v, a := script(t, answer(`[`+sale("future", time.Now().AddDate(50, 0, 0))+`]`))
	_, next, err := pollAll(t, v, a, incremental())
	require.NoError(t, err)
	_, _, err = pollAll(t, v, a, next)
	require.NoError(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Less(t, s.queries[len(s.queries)-1], "modifiedAfter="+time.Now().AddDate(0, 0, 2).Format(time.DateOnly))
}

func TestAFactIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	s, v, a := script(t, answer(recently("x")))
	s.users = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	guids, next, err := pollAll(t, v, a, incremental())
	require.Empty(t, guids)
	require.Nil(t, next)
	require.Equal(t, verdict.Retry, verdict.Of(err).Kind)
}

func TestUnreadableAnswersAreRetries(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "<html>", `{"value":[{"saleGuid":"x"`, `null null`} {
		_, v, a := script(t, answer(body))
		_, _, err := pollAll(t, v, a, incremental())
		require.Equal(t, verdict.Retry, verdict.Of(err).Kind, body)
	}
	_, v, a := script(t, answer(`{"values":[]}`))
	_, _, err := pollAll(t, v, a, incremental())
	require.Equal(t, "contract broken: /value", verdict.Of(err).Cause)
}

func TestFaultsOfTheVendorHaveTheirVerdicts(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]verdict.Kind{
		"status:503": verdict.Retry, "retry-after:7": verdict.Hold, "reset": verdict.Retry, "truncate": verdict.Retry, "html": verdict.Retry,
		"redirect:http://example.com/": verdict.Park, "rename:sale=record": verdict.Park,
	} {
		s := simulate(t)
		s.sale(t, guid, `{"status":"Pending"}`)
		s.fault(t, `{"match":"GET /api/files*","fault":"`+fault+`"}`)
		_, err := s.vendor.Fetcher.Fetch(t.Context(), s.account, resource(guid))
		require.Error(t, err, fault)
		require.Equal(t, want, verdict.Of(err).Kind, "%s: %v", fault, err)
		require.NotContains(t, err.Error(), "planted")
	}
}
