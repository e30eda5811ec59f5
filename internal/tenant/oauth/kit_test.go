package oauth

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

func TestMain(m *testing.M) {
	// The test server's watcher and the closing of pools outlive the tests by design.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
		goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"))
}

const externalID = "732F99F9-4a0a-4d59-9643-b5faed2026b8"

var signer = func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}()

func keyPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(signer)}))
}

// vendor is an account server: tokens rotate, the second use of a refresh token or a code ends the
// whole family, PKCE and redirect_uri are checked, and each of its answers quotes what it was sent.
type vendor struct {
	*httptest.Server
	t *testing.T

	mu        sync.Mutex
	n         int
	grants    int               // given
	asked     int               // calls of /oauth/token
	codes     map[string]issued // unused ones
	family    map[string]int    // of each refresh token
	revoked   map[int]bool
	used      map[string]bool
	access    map[string]int // family of each access token
	last      string         // refresh token
	life      int            // seconds
	rotate    bool
	consented bool // for assertions
	account   string
	before    func() // runs before an answer, without the lock
	answer    func(w http.ResponseWriter) bool
}

type issued struct{ challenge, redirect string }

func newServer(t *testing.T) *vendor {
	s := &vendor{
		t: t, codes: map[string]issued{}, family: map[string]int{}, revoked: map[int]bool{}, used: map[string]bool{},
		access: map[string]int{}, life: 3600, rotate: true, consented: true, account: strings.ToLower(externalID),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /acct/oauth/token", s.token)
	mux.HandleFunc("GET /acct/oauth/userinfo", s.userinfo)
	mux.HandleFunc("GET /api/x", s.api)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *vendor) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	if s.before != nil {
		s.before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.answer != nil && s.answer(w) {
		return
	}
	id, secret, _ := r.BasicAuth()
	refuse := func(status int, code string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": r.PostForm.Encode() + secret})
	}
	switch r.PostForm.Get("grant_type") {
	case "refresh_token":
		token := r.PostForm.Get("refresh_token")
		f, known := s.family[token]
		switch {
		case id != "key" || secret != "planted-client-secret":
			refuse(401, "invalid_client")
		case !known || s.revoked[f] || s.used[token]:
			s.revoked[f] = true // reuse: a thief, or the owner after one
			refuse(400, "invalid_grant")
		default:
			s.used[token] = s.rotate
			s.give(w, f)
		}
	case "authorization_code":
		code := r.PostForm.Get("code")
		g, ok := s.codes[code]
		delete(s.codes, code)
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		if !ok || g.redirect != r.PostForm.Get("redirect_uri") || g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) ||
			secret != "planted-client-secret" {
			refuse(400, "invalid_grant")
			return
		}
		s.n++
		s.give(w, s.n)
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		switch {
		case !s.asserted(r.PostForm.Get("assertion")):
			refuse(400, "invalid_grant")
		case !s.consented:
			refuse(400, "consent_required")
		default:
			s.n++
			s.give(w, s.n)
		}
	default:
		refuse(400, "unsupported_grant_type")
	}
}

func (s *vendor) give(w http.ResponseWriter, family int) {
	s.grants++
	access := fmt.Sprintf("planted-access-%d", s.grants)
	s.access[access] = family
	out := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": s.life}
	if s.rotate {
		s.last = fmt.Sprintf("planted-refresh-%d", s.grants)
		s.family[s.last] = family
		out["refresh_token"] = s.last
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

func (s *vendor) asserted(text string) bool {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	sig, _ := base64.RawURLEncoding.DecodeString(parts[2])
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	head, _ := base64.RawURLEncoding.DecodeString(parts[0])
	var c struct {
		Iss, Sub, Aud, Scope string
		Iat, Exp             int64
	}
	return rsa.VerifyPKCS1v15(&signer.PublicKey, crypto.SHA256, sum[:], sig) == nil && json.Unmarshal(body, &c) == nil &&
		strings.Contains(string(head), `"RS256"`) && c.Iss == "key" && c.Sub == "user-1" && "http://"+c.Aud == s.URL &&
		c.Scope == "signature impersonation" && c.Exp-c.Iat <= 3600 && c.Exp > time.Now().Unix()
}

func (s *vendor) live(r *http.Request) bool {
	f, ok := s.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	return ok && !s.revoked[f]
}

func (s *vendor) userinfo(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live(r) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"accounts": []map[string]string{{"account_id": "0"}, {"account_id": s.account}}})
}

func (s *vendor) api(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live(r) {
		w.WriteHeader(http.StatusUnauthorized)
	}
	_, _ = fmt.Fprint(w, r.Header.Get("Authorization"))
}

// begin gives a family's first refresh token, as a consent does.
func (s *vendor) begin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	s.grants++
	s.last = fmt.Sprintf("planted-refresh-%d", s.grants)
	s.family[s.last] = s.n
	return s.last
}

// counts are calls of the token endpoint, and tokens given.
func (s *vendor) counts() (asked, given int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.grants
}

func (s *vendor) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// bus is the tables of tenants, and a tenant with an account at the server.
type bus struct {
	t      *testing.T
	url    string
	schema string
	pool   *pgxpool.Pool
	sealer tenant.Sealer
	server *vendor
	woken  chan verdict.Scope
}

func newBus(t *testing.T) *bus {
	t.Helper()
	pool, schema := testkit.Schema(t)
	b := &bus{t: t, url: testkit.PostgresURL(t), schema: schema, pool: pool, server: newServer(t), woken: make(chan verdict.Scope, 100)}
	require.NoError(t, postgres.Migrations{Schema: schema, Set: "tenant", Files: tenant.Migrations()}.Apply(t.Context(), b.url))
	file, err := tenant.NewSealingKey()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "sealing.key")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	b.sealer, err = tenant.ReadSealingKey(path)
	require.NoError(t, err)
	return b
}

func (b *bus) wanted(credential map[string]string) tenant.Wanted {
	settings, err := json.Marshal(map[string]string{"oauth_base_url": b.server.URL + "/acct"})
	require.NoError(b.t, err)
	return tenant.Wanted{ID: "lakeshore", Name: "Lakeshore Realty", TimeZone: "America/Chicago", Accounts: []tenant.WantedAccount{{
		Vendor: "docusign", Name: "main", ExternalID: externalID, BaseURL: b.server.URL + "/api", Settings: settings,
		Credential: credential, Source: "env D",
	}}}
}

var (
	byCode      = map[string]string{"client_id": "key", "client_secret": "planted-client-secret"}
	byAssertion = map[string]string{"client_id": "key", "user_id": "user-1", "private_key": keyPEM()}
)

// process is one process of the bus.
type process struct {
	*Tokens
	store *tenant.Store
	http  *vendorhttp.Client
}

func (b *bus) process(change ...func(*Config)) *process {
	b.t.Helper()
	pool, err := postgres.Open(b.t.Context(), b.url, "test")
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	store, err := tenant.Open(b.t.Context(), pool, b.schema, b.sealer)
	require.NoError(b.t, err)
	b.t.Cleanup(store.Close)
	below, err := vendorhttp.New(vendorhttp.Config{AllowLoopback: true})
	require.NoError(b.t, err)
	b.t.Cleanup(below.Close)
	cfg := Config{
		Vendors: map[string]tenant.OAuth{"docusign": {
			BaseURL: "https://account.docusign.com", AuthorizePath: "/oauth/auth", TokenPath: "/oauth/token",
			UserInfoPath: "/oauth/userinfo", AccountIDs: []string{"accounts", "account_id"},
			Scopes: []string{"signature", "extended"}, JWT: true, JWTScopes: []string{"signature", "impersonation"},
		}},
		PublicURL: "https://hooks.example.com", Below: below.Below,
		Wake: func(_ context.Context, s verdict.Scope) error { b.woken <- s; return nil },
	}
	for _, c := range change {
		c(&cfg)
	}
	tokens, err := New(store, cfg)
	require.NoError(b.t, err)
	client, err := vendorhttp.New(vendorhttp.Config{AllowLoopback: true, Tokens: tokens, Health: store.SetHealth})
	require.NoError(b.t, err)
	b.t.Cleanup(client.Close)
	return &process{tokens, store, client}
}

// apply makes the account, with tokens as a consent left them; no refresh token = none yet.
func (b *bus) apply(p *process, credential map[string]string, refresh string) {
	b.t.Helper()
	_, err := p.store.Apply(b.t.Context(), []tenant.Wanted{b.wanted(credential)}, "test")
	require.NoError(b.t, err)
	if refresh != "" {
		_, err = p.store.Renew(b.t.Context(), p.account(b.t), func(_ context.Context, held tenant.Credential) (tenant.Credential, error) {
			held.AccessToken, held.RefreshToken, held.ExpiresAt = "planted-expired", refresh, time.Now().Add(-time.Hour)
			return held, nil
		})
		require.NoError(b.t, err)
	}
}

func (p *process) account(t *testing.T) tenant.Account {
	t.Helper()
	a, err := p.store.Fresh(t.Context(), "lakeshore", "docusign", "main")
	require.NoError(t, err)
	return a
}

// expire lets the stored access token be too old, in every process.
func (b *bus) expire() {
	_, err := b.pool.Exec(b.t.Context(), postgres.In(b.schema, `
UPDATE {schema}.credential SET expires_at = now() + interval '30 seconds'; UPDATE {schema}.tenant_change SET n = n + 1`))
	require.NoError(b.t, err)
}

// see makes the processes look now.
func see(t *testing.T, ps ...*process) {
	t.Helper()
	for _, p := range ps {
		p.account(t)
	}
}

// consent is what a person's browser does with a consent link: it comes back with a code.
func (s *vendor) consent(t *testing.T, link string) (query string) {
	t.Helper()
	u, err := url.Parse(link)
	require.NoError(t, err)
	q := u.Query()
	require.Equal(t, s.URL+"/acct/oauth/auth", u.Scheme+"://"+u.Host+u.Path)
	require.Equal(t, "code", q.Get("response_type"))
	require.Equal(t, "key", q.Get("client_id"))
	require.Equal(t, "S256", q.Get("code_challenge_method"))
	require.Equal(t, "https://hooks.example.com/oauth/docusign/callback", q.Get("redirect_uri"))
	s.mu.Lock()
	defer s.mu.Unlock()
	code := fmt.Sprintf("planted-code-%d", len(s.used)+s.n*1000+s.asked)
	s.codes[code] = issued{q.Get("code_challenge"), q.Get("redirect_uri")}
	s.consented = true
	return url.Values{"state": {q.Get("state")}, "code": {code}}.Encode()
}
