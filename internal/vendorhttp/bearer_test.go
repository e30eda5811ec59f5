package vendorhttp_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

// tokens gives planted-old, then planted-new for what was refused.
type tokens struct {
	renewals int
	refused  []string
	err      error
}

func (t *tokens) Token(context.Context, tenant.Account) (string, error) {
	return "planted-old", t.err
}

func (t *tokens) Renew(_ context.Context, _ tenant.Account, refused string) (string, error) {
	t.renewals++
	t.refused = append(t.refused, refused)
	return "planted-new", t.err
}

// guarded lets only one token in and echoes what it got, as vendors do in errors.
func guarded(good string, bodies *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*bodies = append(*bodies, string(body))
		if r.Header.Get("Authorization") != "Bearer "+good {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, "you sent "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}
}

func TestRefusedTokenIsRenewedOnceAndTheCallIsMadeAgainWhateverItsMethod(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		var bodies []string
		a, n := vendor(t, guarded("planted-new", &bodies))
		tk, p := &tokens{}, &purse{n: 5}
		resp, err := client(t, vendorhttp.Config{Tokens: tk, Budget: p, Health: func(context.Context, tenant.Account, bool, string) {
			require.Fail(t, "an expired token is no news of the account")
		}}).Do(t.Context(), a, vendorhttp.Request{Method: method, Path: "/x", Body: []byte("{}"), Bearer: true})
		require.NoError(t, err, method)
		require.Equal(t, 200, resp.Status)
		require.EqualValues(t, 2, n.Load())
		require.Equal(t, []string{"{}", "{}"}, bodies)
		require.Equal(t, []string{"planted-old"}, tk.refused)
		require.Equal(t, 3, p.n, "both calls are paid")
	}
}

func TestSecondRefusalHoldsTheAccountAndIsToldOnce(t *testing.T) {
	t.Parallel()
	var bodies []string
	a, n := vendor(t, guarded("another", &bodies))
	tk, told := &tokens{}, 0
	c := client(t, vendorhttp.Config{Tokens: tk, Health: func(_ context.Context, _ tenant.Account, refused bool, cause string) {
		told++
		require.True(t, refused)
		require.Equal(t, "account refused 401", cause)
	}})
	r := get
	r.Bearer = true
	_, err := c.Do(t.Context(), a, r)
	require.Equal(t, "account refused", verdict.Of(err).Cause)
	require.NotContains(t, err.Error(), "planted")
	for i := range 5 { // its tokens change by themselves, and it is as refused as before
		a.Credential.AccessToken = strings.Repeat("x", i)
		_, err = c.Do(t.Context(), a, r)
		require.Equal(t, verdict.Hold, verdict.Of(err).Kind)
	}
	require.Equal(t, 1, told)
	require.Equal(t, 1, tk.renewals)
	require.EqualValues(t, 2, n.Load())
}

func TestCallWithoutATokenIsNotMadeAndSaysWhatTheTokensSay(t *testing.T) {
	t.Parallel()
	a, n := vendor(t, status(200))
	r := vendorhttp.Request{Method: "POST", Path: "/x", Bearer: true}
	want := verdict.Held(verdict.AccountScope(a.Tenant, a.Vendor, a.Name), time.Now().Add(time.Minute), "reconnect: https://x.example", nil)
	c := client(t, vendorhttp.Config{Tokens: &tokens{err: want}})
	for range 20 { // it never opens a breaker
		_, err := c.Do(t.Context(), a, r)
		require.Equal(t, want, err)
	}
	_, err := client(t, vendorhttp.Config{}).Do(t.Context(), a, r)
	require.Equal(t, "no access tokens in this process", verdict.Of(err).Cause)
	require.Zero(t, n.Load())
}

func TestLibraryReachesNothingButWhatLiesBelowItsBase(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/oauth/redirect":
			http.Redirect(w, r, other.URL+"/planted", http.StatusTemporaryRedirect)
		case "/oauth/huge":
			_, _ = io.WriteString(w, strings.Repeat("x", 2<<20))
		}
	}))
	t.Cleanup(srv.Close)
	h, err := client(t, vendorhttp.Config{}).Below(srv.URL + "/oauth")
	require.NoError(t, err)
	for _, target := range []string{
		other.URL + "/oauth/token", srv.URL + "/", srv.URL + "/oauthx", srv.URL + "/oauth/../admin", srv.URL + "/oauth/%2e%2e/admin",
		strings.Replace(srv.URL, "http://", "http://u:p@", 1) + "/oauth/token", strings.Replace(srv.URL, "http", "https", 1) + "/oauth",
	} {
		_, err := h.Get(target)
		require.ErrorContains(t, err, "the request leaves the configured base", target)
	}
	resp, err := h.PostForm(srv.URL+"/oauth/redirect", url.Values{"secret": {"planted"}})
	require.NoError(t, err)
	require.Equal(t, http.StatusTemporaryRedirect, resp.StatusCode)
	_ = resp.Body.Close()
	resp, err = h.Get(srv.URL + "/oauth/huge")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.Error(t, err)
	require.Len(t, body, 1<<20)
	_ = resp.Body.Close()
	require.Zero(t, elsewhere.Load())
	h.CloseIdleConnections()

	_, err = client(t, vendorhttp.Config{}).Below("http://10.0.0.1")
	require.ErrorContains(t, err, "base_url must be https")
	strict, err := vendorhttp.New(vendorhttp.Config{})
	require.NoError(t, err)
	_, err = strict.Below(srv.URL)
	require.Error(t, err)
	private, err := strict.Below("https://169.254.169.254")
	require.NoError(t, err)
	_, err = private.Get("https://169.254.169.254/latest/meta-data")
	require.ErrorContains(t, err, "prohibited")
}
