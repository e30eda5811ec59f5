package oauth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// door serves the callback as the ingest process does, and keeps what it logs.
type door struct {
	mux  *http.ServeMux
	logs *observer.ObservedLogs
}

func newDoor(p *process) door {
	core, logs := observer.New(zapcore.DebugLevel)
	d := door{http.NewServeMux(), logs}
	d.mux.Handle("/oauth/{vendor}/callback", p.Callback(zap.New(core)))
	return d
}

func (d door) get(query string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth/docusign/callback?"+query, http.NoBody))
	return w
}

func (d door) quiet(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	require.NotContains(t, w.Body.String(), "planted")
	for _, e := range d.logs.All() {
		text, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "m"}).EncodeEntry(e.Entry, e.Context)
		require.NoError(t, err)
		require.NotContains(t, text.String(), "planted")
		require.NotContains(t, text.String(), "state")
	}
}

func TestConsentConnectsTheAccountWakesWhatIsHeldAndTellsWhoWaits(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	fetch, ingest, operator := b.process(), b.process(), b.process()
	b.apply(operator, byCode, "")
	a := operator.account(t)
	_, err := fetch.Token(t.Context(), a)
	require.Contains(t, verdict.Of(err).Cause, "reconnect: ")

	c, err := operator.Begin(t.Context(), a)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(15*time.Minute), c.ExpiresAt, time.Minute)
	waited := make(chan error, 1)
	go func() { waited <- operator.Wait(t.Context(), c) }()
	d := newDoor(ingest)
	query := b.server.consent(t, c.Link)
	w := d.get(query)
	require.Equal(t, 200, w.Code, w.Body.String())
	require.Equal(t, "Connected: docusign of lakeshore works again, and what waited flows. You can close this page.\n", w.Body.String())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
	require.NoError(t, <-waited)
	require.Equal(t, verdict.AccountScope("lakeshore", "docusign", "main"), <-b.woken)
	_, err = fetch.http.Do(t.Context(), a, getX) // its view is as old as the hold
	require.NoError(t, err)
	require.False(t, fetch.account(t).Health.Refused)
	d.quiet(t, w)

	w = d.get(query)
	require.Equal(t, 400, w.Code, "a state counts once")
	d.quiet(t, w)
	_, given := b.server.counts()
	require.Equal(t, 1, given)
}

func TestConsentOfAnotherLoginIsRefusedAndNothingIsStored(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, "")
	b.server.account = "another"
	c, err := p.Begin(t.Context(), p.account(t))
	require.NoError(t, err)
	d := newDoor(p)
	w := d.get(b.server.consent(t, c.Link))
	require.Equal(t, 403, w.Code)
	require.Contains(t, w.Body.String(), "the login is not one of account "+externalID)
	require.ErrorIs(t, p.Wait(t.Context(), c), ErrNotConnected)
	require.Empty(t, p.account(t).Credential.AccessToken)
	require.Empty(t, p.account(t).Credential.RefreshToken)
	d.quiet(t, w)
}

func TestStateOfAnotherVendorTooOldOrUsedByTwoAtOnceIsNone(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, "")
	a := p.account(t)
	d := newDoor(p)

	c, err := p.Begin(t.Context(), a)
	require.NoError(t, err)
	query := b.server.consent(t, c.Link)
	w := httptest.NewRecorder()
	d.mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth/dotloop/callback?"+query, http.NoBody))
	require.Equal(t, 400, w.Code, "another vendor's door")
	var wg sync.WaitGroup
	codes := make([]int, 3)
	for i := range codes {
		wg.Go(func() { codes[i] = d.get(query).Code })
	}
	wg.Wait()
	require.ElementsMatch(t, []int{200, 400, 400}, codes)

	c, err = p.Begin(t.Context(), a)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), postgres.In(b.schema, `UPDATE {schema}.oauth_flow SET expires_at = now() - interval '1 second'`))
	require.NoError(t, err)
	require.Equal(t, 400, d.get(b.server.consent(t, c.Link)).Code)
	_, err = b.pool.Exec(t.Context(), postgres.In(b.schema, `UPDATE {schema}.oauth_flow SET expires_at = now() - interval '2 minutes'`))
	require.NoError(t, err)
	require.ErrorIs(t, p.Wait(t.Context(), c), tenant.ErrNoFlow)

	var text string
	require.NoError(t, b.pool.QueryRow(t.Context(), postgres.In(b.schema, `SELECT string_agg(f::text, '') FROM {schema}.oauth_flow f`)).Scan(&text))
	state, err := url.ParseQuery(query)
	require.NoError(t, err)
	require.NotContains(t, text, state.Get("state"))
}

func TestRefusalOfThePersonIsToldInKnownWordsOnly(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, "")
	d := newDoor(p)
	for code, want := range map[string]string{"access_denied": "the vendor says access_denied", "<b>planted": "the vendor says an error of its own"} {
		c, err := p.Begin(t.Context(), p.account(t))
		require.NoError(t, err)
		u, err := url.Parse(c.Link)
		require.NoError(t, err)
		w := d.get(url.Values{"state": {u.Query().Get("state")}, "error": {code}, "error_description": {"planted"}}.Encode())
		require.Equal(t, 400, w.Code)
		require.Equal(t, "Not connected: "+want+".\n", w.Body.String())
		require.ErrorContains(t, p.Wait(t.Context(), c), want)
		d.quiet(t, w)
	}
}

func TestCodeOfAnotherFlowIsRefusedByItsChallenge(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, "")
	d := newDoor(p)
	mine, err := p.Begin(t.Context(), p.account(t))
	require.NoError(t, err)
	other, err := p.Begin(t.Context(), p.account(t))
	require.NoError(t, err)
	q, err := url.ParseQuery(b.server.consent(t, mine.Link))
	require.NoError(t, err)
	stolen, err := url.ParseQuery(b.server.consent(t, other.Link))
	require.NoError(t, err)
	q.Set("code", stolen.Get("code"))
	w := d.get(q.Encode())
	require.Equal(t, 502, w.Code)
	require.Equal(t, "Not connected: the account server answered 400 invalid_grant.\n", w.Body.String())
	d.quiet(t, w)
}

func TestReconnectLinkBeginsAConsentEachTimeAndOnlyForWhoHasIt(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	fetch, ingest := b.process(), b.process()
	b.apply(fetch, byCode, "")
	_, err := fetch.Token(t.Context(), fetch.account(t))
	require.Error(t, err)
	link, err := url.Parse(ingest.account(t).Health.Reconnect())
	require.NoError(t, err)
	d := newDoor(ingest)
	var seen []string
	for range 2 {
		w := d.get(link.RawQuery)
		require.Equal(t, http.StatusFound, w.Code)
		seen = append(seen, w.Header().Get("Location"))
		require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
	}
	require.NotEqual(t, seen[0], seen[1])
	require.Equal(t, 200, d.get(b.server.consent(t, seen[1])).Code)
	for change, value := range map[string]string{"key": "AAAAAAAAAAAAAAAAAAAAAA", "connect": "lakeshore/other"} {
		q := link.Query()
		q.Set(change, value)
		w := d.get(q.Encode())
		require.Equal(t, 404, w.Code)
		require.Empty(t, w.Header().Get("Location"))
	}
}

func TestAssertionNeedsNobodyAndItsMissingConsentOneClick(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byAssertion, "")
	connected, err := p.Connect(t.Context(), p.account(t))
	require.NoError(t, err)
	require.True(t, connected)
	_, err = p.http.Do(t.Context(), p.account(t), getX)
	require.NoError(t, err)

	b.server.set(func() { b.server.consented = false; clear(b.server.access) })
	_, err = p.http.Do(t.Context(), p.account(t), getX)
	require.Contains(t, verdict.Of(err).Cause, "reconnect: ")
	connected, err = p.Connect(t.Context(), p.account(t))
	require.NoError(t, err)
	require.False(t, connected)
	c, err := p.Begin(t.Context(), p.account(t))
	require.NoError(t, err)
	require.Contains(t, c.Link, "scope=signature+impersonation")
	w := newDoor(p).get(b.server.consent(t, c.Link))
	require.Equal(t, 200, w.Code, w.Body.String())
	_, err = p.http.Do(t.Context(), p.account(t), getX)
	require.NoError(t, err)
	require.Empty(t, p.account(t).Credential.RefreshToken)
}

func TestConnectFindsALoginOfAnotherAccount(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.server.account = "another"
	p := b.process()
	b.apply(p, byAssertion, "")
	_, err := p.Connect(t.Context(), p.account(t))
	require.ErrorIs(t, err, ErrOtherLogin)
	_, err = p.Begin(t.Context(), tenant.Account{Tenant: "lakeshore", Vendor: "followupboss", Name: "main"})
	require.ErrorContains(t, err, "followupboss has no OAuth")
}

func TestStrangersCannotKeepTheProcessBusy(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, "")
	d := newDoor(p)
	reached, goOn := make(chan struct{}, callbacksAtOnce), make(chan struct{})
	b.server.before = func() { reached <- struct{}{}; <-goOn }
	var wg sync.WaitGroup
	for range callbacksAtOnce {
		c, err := p.Begin(t.Context(), p.account(t))
		require.NoError(t, err)
		u, err := url.Parse(c.Link)
		require.NoError(t, err)
		wg.Go(func() { d.get(url.Values{"state": {u.Query().Get("state")}, "code": {"x"}}.Encode()) })
	}
	for range callbacksAtOnce {
		<-reached
	}
	w := d.get("state=x&code=y")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	close(goOn)
	wg.Wait()
	w = httptest.NewRecorder()
	d.mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/oauth/docusign/callback?state=x", http.NoBody))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

func FuzzCallbackQuery(f *testing.F) {
	for _, s := range []string{
		"state=a&code=b", "state=a&error=access_denied", "connect=lakeshore%2Fmain&key=x", "state=a&state=b&code=c", "code=%zz", "",
		"state=a&code=b%0d%0aX:y", "connect=a", "state=a&code=" + strings.Repeat("x", codeBytesMax+1), strings.Repeat("&", queryBytesMax+1), "a;b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		a, err := parse(query)
		if err != nil {
			require.Equal(t, asked{}, a)
			require.LessOrEqual(t, len(err.Error()), 30, "it quotes the query")
			return
		}
		if a.connect != "" {
			require.NotEmpty(t, a.key)
			require.Empty(t, a.state+a.code+a.fail)
			return
		}
		require.NotEmpty(t, a.state)
		require.True(t, a.fail != "" || isCode(a.code))
		require.LessOrEqual(t, len(a.fail), 30)
	})
}

// said answers every request with the same bytes.
type said struct {
	status int
	kind   string
	body   string
}

func (s said) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", s.kind)
	w.WriteHeader(max(200, s.status))
	_, _ = w.WriteString(s.body)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func FuzzTokenAnswer(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r"}`, `{"error":"invalid_grant"}`, `{}`, `[]`, ``, `null`,
		`{"access_token":"a","expires_in":"3600"}`, `{"access_token":"a","expires_in":-1}`, `{"access_token":"a","expires_in":9e99}`,
		`access_token=a&expires_in=5`, `<html>`, `{"access_token":5}`, `{"error":{"code":1}}`, `{"access_token":"a\n"}`,
	} {
		f.Add(200, "application/json", body)
		f.Add(400, "text/plain", body)
		f.Add(200, "application/x-www-form-urlencoded", body)
	}
	const unlikely = "zqplantedqz"
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		if status < 200 || status > 599 {
			return
		}
		s := &server{
			vendor: tenant.OAuth{TokenPath: "/oauth/token", JWT: true}, base: "https://account.example",
			fields: map[string]string{"client_id": "key", "user_id": "u", "private_key": keyPEM()},
			client: &http.Client{Transport: said{status, kind, strings.ReplaceAll(body, "a", unlikely)}},
		}
		for _, ask := range []func() (tenant.Credential, error){
			func() (tenant.Credential, error) { return s.refresh(context.Background(), "r0") },
			func() (tenant.Credential, error) { return s.assert(context.Background()) },
		} {
			got, err := ask()
			if err == nil {
				require.True(t, isToken(got.AccessToken))
				require.True(t, got.RefreshToken == "" || isToken(got.RefreshToken))
				continue
			}
			require.Empty(t, got.AccessToken)
			require.NotContains(t, err.Error(), unlikely)
			if _, is := err.(*tenant.Refusal); !is { //nolint:errorlint // bare
				var e *answerError
				require.ErrorAs(t, err, &e)
				require.True(t, e.code == "" || slices.Contains(codes, e.code))
			}
		}
	})
}
