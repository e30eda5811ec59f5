package sandbox_test

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
)

const callback = "https://hooks.example.com/oauth/docusign/callback"

// ask is a request for consent, with more or other parameters.
func ask(more url.Values) string {
	q := url.Values{"response_type": {"code"}, "scope": {"signature extended"}, "client_id": {"app"}, "redirect_uri": {callback}, "state": {"s-1"}}
	maps.Copy(q, more)
	return "/docusign/oauth/auth?" + q.Encode()
}

// consented is a code for a tenant's account.
func (w *world) consented(tenant string, more url.Values) string {
	w.t.Helper()
	q := url.Values{"login_hint": {tenant}}
	maps.Copy(q, more)
	a := w.want(302, "GET", ask(q), nil, nil)
	to, err := url.Parse(a.header.Get("Location"))
	require.NoError(w.t, err)
	require.Equal(w.t, callback, to.Scheme+"://"+to.Host+to.Path)
	require.Equal(w.t, "s-1", to.Query().Get("state"))
	return to.Query().Get("code")
}

func code(text string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {text}}
}

func refresh(text any) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {text.(string)}}
}

// works says whether an access token opens a tenant's account.
func (w *world) works(tenant string, token any) bool {
	w.t.Helper()
	h := http.Header{"Authorization": {"Bearer " + token.(string)}}
	return w.call("GET", below(tenant, "/connect"), nil, h).status == 200
}

func TestConsentIsAskedForAndLeadsBackWithACode(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	page := w.want(200, "GET", ask(nil), nil, nil)
	require.Contains(t, page.header.Get("Content-Type"), "text/html")
	require.Contains(t, string(page.body), "Allow access to redrock/main")
	require.Contains(t, string(page.body), `name="state" value="s-1"`)

	got := w.trade(200, code(w.consented("lakeshore", nil)))
	require.InDelta(t, 28800, got["expires_in"], 0)
	require.True(t, w.works("lakeshore", got["access_token"]))
	require.False(t, w.works("redrock", got["access_token"]))
	h := http.Header{"Authorization": {"Bearer " + got["access_token"].(string)}}
	info := w.want(200, "GET", "/docusign/oauth/userinfo", nil, h).object(t)
	account := info["accounts"].([]any)[0].(map[string]any)
	require.Equal(t, accountIDs["lakeshore"], account["account_id"])
	require.Equal(t, w.url+"/docusign", account["base_uri"])
	require.Equal(t, userIDs["lakeshore"], info["sub"])
	w.want(401, "GET", "/docusign/oauth/userinfo", nil, nil)

	for query, want := range map[string]string{
		"denied=true": "access_denied", "scope=openid": "invalid_scope", "response_type=token": "unsupported_response_type",
	} {
		q, err := url.ParseQuery(query)
		require.NoError(t, err)
		to, err := url.Parse(w.want(302, "GET", ask(q), nil, nil).header.Get("Location"))
		require.NoError(t, err)
		require.Equal(t, want, to.Query().Get("error"))
		require.Equal(t, "s-1", to.Query().Get("state"))
	}
	w.want(400, "GET", ask(url.Values{"client_id": {"nobody"}}), nil, nil)
	w.want(400, "GET", ask(url.Values{"redirect_uri": {"javascript:alert(1)"}}), nil, nil)
}

func TestConsentIsGivenAtOnceWhereThatIsWanted(t *testing.T) {
	t.Parallel()
	w := open(t, func(o *sandbox.Options) { o.Tenants = o.Tenants[:1]; signing(o); o.AutoConsent = true })
	require.Contains(t, w.want(302, "GET", ask(nil), nil, nil).header.Get("Location"), "code=")
}

func TestCodesCountOnceForTwoMinutes(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	text := w.consented("lakeshore", nil)
	got := w.trade(200, code(text))
	require.Equal(t, "invalid_grant", w.trade(400, code(text))["error"])
	require.False(t, w.works("lakeshore", got["access_token"]), "what came of a code that was used twice is revoked")

	late := w.consented("lakeshore", nil)
	w.clock.move(2 * time.Minute)
	require.Equal(t, "invalid_grant", w.trade(400, code(late))["error"])

	sum := sha256.Sum256([]byte("verifier"))
	pkce := url.Values{"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	form := code(w.consented("lakeshore", pkce))
	require.Equal(t, "invalid_grant", w.trade(400, form)["error"])
	form.Set("code_verifier", "verifier")
	form.Set("redirect_uri", "https://elsewhere.example.com/")
	require.Equal(t, "invalid_grant", w.trade(400, form)["error"])
	form.Set("redirect_uri", callback)
	w.trade(200, form)

	wrong := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	wrong.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("app:guess")))
	for _, h := range []http.Header{wrong, {"Content-Type": wrong["Content-Type"]}} {
		a := w.want(401, "POST", tokenPath, code(w.consented("lakeshore", nil)).Encode(), h)
		require.Equal(t, "invalid_client", a.object(t)["error"])
	}
	require.Equal(t, "unsupported_grant_type", w.trade(400, url.Values{})["error"])
	require.Equal(t, "invalid_grant", w.trade(400, code("AAAA.AAAA"))["error"])
}

func TestRefreshTokensRotateAndAnOldOneRevokesItsFamily(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	first := w.trade(200, code(w.consented("lakeshore", nil)))
	other := w.trade(200, code(w.consented("lakeshore", nil)))
	second := w.trade(200, refresh(first["refresh_token"]))
	third := w.trade(200, refresh(second["refresh_token"]))
	require.NotEqual(t, first["refresh_token"], second["refresh_token"])
	require.True(t, w.works("lakeshore", first["access_token"]), "an access token lives on")

	require.Equal(t, "invalid_grant", w.trade(400, refresh(first["refresh_token"]))["error"])
	require.Equal(t, "invalid_grant", w.trade(400, refresh(third["refresh_token"]))["error"], "the newest, too")
	require.False(t, w.works("lakeshore", third["access_token"]))
	require.True(t, w.works("lakeshore", other["access_token"]), "another consent's tokens live on")
	w.trade(200, refresh(other["refresh_token"]))
	require.Equal(t, "invalid_grant", w.trade(400, refresh(other["access_token"]))["error"], "an access token is no refresh token")
	require.False(t, w.works("lakeshore", second["refresh_token"]))
}

func TestTokensEndInTheVendorsTime(t *testing.T) {
	t.Parallel()
	w := open(t, func(o *sandbox.Options) { signing(o); o.TimeScale = 60 })
	got := w.trade(200, code(w.consented("lakeshore", nil)))
	require.InDelta(t, 480, got["expires_in"], 0)
	byJWT := w.token("lakeshore")["Authorization"][0][len("Bearer "):]
	w.clock.move(time.Minute)
	require.False(t, w.works("lakeshore", byJWT), "an hour")
	w.clock.move(6*time.Minute + 59*time.Second)
	require.True(t, w.works("lakeshore", got["access_token"]))
	w.clock.move(time.Second)
	require.False(t, w.works("lakeshore", got["access_token"]), "eight hours")
	w.clock.move(12*time.Hour - 8*time.Minute - time.Second)
	next := w.trade(200, refresh(got["refresh_token"]))
	w.clock.move(12 * time.Hour)
	require.Equal(t, "invalid_grant", w.trade(400, refresh(next["refresh_token"]))["error"], "thirty days")
}

func TestAssertionsAreChecked(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	now := w.clock.Now().Unix()
	try := func(status int, alg string, change map[string]any) map[string]any {
		claims := w.claims("lakeshore")
		maps.Copy(claims, change)
		return w.trade(status, url.Values{"grant_type": {jwtGrant}, "assertion": {assertion(t, alg, claims)}})
	}
	host := strings.TrimPrefix(w.url, "http://")
	for _, good := range []map[string]any{
		nil,
		{"aud": "account.docusign.com"},
		{"aud": host},
		{"aud": host + "/docusign"},
		{"sub": strings.ToUpper(userIDs["lakeshore"])},
		{"scope": "signature"},
	} {
		got := try(200, "RS256", good)
		require.True(t, w.works("lakeshore", got["access_token"]), good)
		require.NotContains(t, got, "refresh_token")
	}
	for _, bad := range []map[string]any{
		{"iss": "nobody"},
		{"sub": "nobody"},
		{"sub": ""},
		{"aud": w.url},
		{"aud": "example.com"},
		{"scope": "openid"},
		{"exp": now - 61},
		{"exp": now + 4*3600},
		{"iat": now + 300, "exp": now + 600},
		{"exp": nil},
	} {
		require.Equal(t, "invalid_grant", try(400, "RS256", bad)["error"], bad)
	}
	require.Equal(t, "invalid_grant", try(400, "HS256", nil)["error"])
	good := assertion(t, "RS256", w.claims("lakeshore"))
	for _, text := range []string{good[:len(good)-4] + "AAAA", good + ".x", strings.Replace(good, ".", ".A", 1), ""} {
		require.Equal(t, "invalid_grant", w.trade(400, url.Values{"grant_type": {jwtGrant}, "assertion": {text}})["error"])
	}
}

func TestRevokedConsentKillsTokensUntilItIsGivenAgain(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	got, other := w.trade(200, code(w.consented("lakeshore", nil))), w.token("redrock")
	pending := w.consented("lakeshore", nil)
	byJWT := url.Values{"grant_type": {jwtGrant}, "assertion": {assertion(t, "RS256", w.claims("lakeshore"))}}
	w.control(204, "DELETE", "/docusign/consent?tenant=lakeshore", nil)
	require.False(t, w.works("lakeshore", got["access_token"]))
	require.Equal(t, "invalid_grant", w.trade(400, refresh(got["refresh_token"]))["error"])
	require.Equal(t, "invalid_grant", w.trade(400, code(pending))["error"])
	require.Equal(t, "consent_required", w.trade(400, byJWT)["error"])
	w.want(200, "GET", below("redrock", "/connect"), nil, other)

	w.control(204, "PUT", "/docusign/consent?tenant=lakeshore", nil)
	w.trade(200, byJWT)
	require.Equal(t, "invalid_grant", w.trade(400, refresh(got["refresh_token"]))["error"], "what died stays dead")
	w.control(204, "DELETE", "/docusign/consent?tenant=lakeshore", nil)
	again := w.trade(200, code(w.consented("lakeshore", nil)))
	require.True(t, w.works("lakeshore", again["access_token"]), "a person reconnected it")
	w.control(400, "DELETE", "/docusign/consent", nil)
}

func TestGrantsOutliveARestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state.jsonl")
	state := func(o *sandbox.Options) { signing(o); o.StateFile = file }
	first := open(t, state)
	got := first.trade(200, code(first.consented("lakeshore", nil)))
	next := first.trade(200, refresh(got["refresh_token"]))
	require.NoError(t, first.box.Close())
	second := open(t, state)
	require.True(t, second.works("lakeshore", next["access_token"]))
	require.Equal(t, "invalid_grant", second.trade(400, refresh(got["refresh_token"]))["error"])
}

func TestJournalKnowsWhoseTokenWasAskedFor(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	got := w.trade(200, code(w.consented("redrock", nil)))
	w.trade(200, refresh(got["refresh_token"]))
	w.token("redrock")
	require.Len(t, w.control(200, "GET", "/docusign/requests?account=redrock", nil).list(t), 3)
	w.fault("docusign", map[string]any{"account": "redrock", "match": "POST /oauth/token", "times": 1, "fault": "unauthorized"})
	w.want(401, "POST", tokenPath, url.Values{"grant_type": {jwtGrant}, "assertion": {assertion(t, "RS256", w.claims("redrock"))}}.Encode(),
		http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
}
