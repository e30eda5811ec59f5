package sandbox_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
)

const (
	envelopeID = "4d3420b8-ce24-8a0a-8135-63c9bb1d0c7e"
	tokenPath  = "/docusign/oauth/token"
	jwtGrant   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// accountIDs are the docusign accounts of the tenants, userIDs their users.
var (
	accountIDs = map[string]string{"lakeshore": "732f99f9-4a0a-4d59-9643-b5faed2026b8", "redrock": "832f99f9-4a0a-4d59-9643-b5faed2026b8"}
	userIDs    = map[string]string{"lakeshore": "fdb7fd81-065c-44f0-8376-daa56da18c13", "redrock": "adb7fd81-065c-44f0-8376-daa56da18c13"}
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// signing gives every tenant a docusign account, all with one app.
func signing(o *sandbox.Options) {
	key := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})
	for i := range o.Tenants {
		t := &o.Tenants[i]
		t.Accounts = append(t.Accounts, sandbox.Account{
			Vendor: "docusign", Name: "main", ExternalID: accountIDs[t.ID], Credential: map[string]string{
				"client_id": "app", "client_secret": "app-secret", "user_id": userIDs[t.ID], "private_key": string(key),
				"hmac_key_1": "first-" + t.ID, "hmac_key_2": "second-" + t.ID,
			},
		})
	}
}

// claims are a good assertion's.
func (w *world) claims(tenant string) map[string]any {
	now := w.clock.Now().Unix()
	return map[string]any{
		"iss": "app", "sub": userIDs[tenant], "aud": "account-d.docusign.com", "iat": now, "exp": now + 3600, "scope": "signature impersonation",
	}
}

// assert signs an assertion as any JWT library does.
func assertion(t *testing.T, alg string, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(map[string]any{"alg": alg, "typ": "JWT"}) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, rsaKey(), crypto.SHA256, sum[:])
	require.NoError(t, err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// trade asks the token endpoint.
func (w *world) trade(status int, form url.Values) map[string]any {
	w.t.Helper()
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("app:app-secret")))
	return w.want(status, "POST", tokenPath, form.Encode(), h).object(w.t)
}

// token is a header with an access token by the JWT grant.
func (w *world) token(tenant string) http.Header {
	w.t.Helper()
	got := w.trade(200, url.Values{"grant_type": {jwtGrant}, "assertion": {assertion(w.t, "RS256", w.claims(tenant))}})
	require.Equal(w.t, "Bearer", got["token_type"])
	return http.Header{"Authorization": {"Bearer " + got["access_token"].(string)}}
}

func (w *world) envelope(tenant, id string, patch map[string]any) map[string]any {
	w.t.Helper()
	return w.control(200, "PUT", "/docusign/envelopes/"+id+"?tenant="+tenant, patch).object(w.t)
}

// below is a path of a tenant's account.
func below(tenant, path string) string {
	return "/docusign/restapi/v2.1/accounts/" + accountIDs[tenant] + path
}

// signers are two of them, the first n of whom have signed.
func signers(n int) map[string]any {
	list := []any{}
	for i, name := range []string{"mira", "otis"} {
		status := "sent"
		if i < n {
			status = "completed"
		}
		list = append(list, map[string]any{"name": name, "email": name + "@example.com", "recipientId": i + 1, "routingOrder": i + 1, "status": status})
	}
	return map[string]any{"signers": list}
}

// post is one webhook as a listener saw it.
type post struct {
	header http.Header
	body   []byte
	event  string
	retry  float64
	data   map[string]any
}

// signedBy says whether the n-th header is key's signature.
func (p post) signedBy(n, key string) bool {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(p.body)
	return p.header.Get("X-DocuSign-Signature-"+n) == base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// listener takes webhooks in.
type listener struct {
	t    *testing.T
	url  string
	got  chan post
	mu   sync.Mutex
	says int // the status that it answers with
}

func listen(t *testing.T) *listener {
	l := &listener{t: t, got: make(chan post, 1000), says: 200}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p := post{header: r.Header, body: body}
		var in struct {
			Event      string
			RetryCount float64
			Data       map[string]any
		}
		if err := json.Unmarshal(body, &in); err != nil {
			t.Error(err)
		}
		p.event, p.retry, p.data = in.Event, in.RetryCount, in.Data
		l.mu.Lock()
		status := l.says
		l.mu.Unlock()
		w.WriteHeader(status)
		l.got <- p
	}))
	t.Cleanup(srv.Close)
	l.url = srv.URL + "/in/docusign/token"
	return l
}

func (l *listener) say(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.says = status
}

// next is the next webhook.
func (l *listener) next() post {
	l.t.Helper()
	select {
	case p := <-l.got:
		return p
	case <-time.After(patience):
		require.FailNow(l.t, "no webhook came")
		return post{}
	}
}

// events are the next n webhooks' in their order.
func (l *listener) events(n int) string {
	l.t.Helper()
	var out []string
	for range n {
		p := l.next()
		id, _ := p.data["recipientId"].(string)
		out = append(out, strings.TrimPrefix(p.event, "envelope-")+id)
	}
	return strings.Join(out, " ")
}

// subscribe makes a configuration that works, but for patch, and returns its id.
func (w *world) subscribe(tenant, url string, patch map[string]any) string {
	w.t.Helper()
	cfg := map[string]any{
		"configurationType": "custom", "name": "bus", "urlToPublishTo": url, "allUsers": "true", "allowEnvelopePublish": "true",
		"deliveryMode": "SIM", "requiresAcknowledgement": "true", "includeHMAC": "true", "eventData": map[string]any{"version": "restv2.1"},
		"events": []any{
			"envelope-sent", "envelope-delivered", "envelope-completed", "envelope-declined", "envelope-voided", "recipient-completed",
		},
	}
	for k, v := range patch {
		cfg[k] = v
	}
	got := w.want(201, "POST", below(tenant, "/connect"), cfg, w.token(tenant)).object(w.t)
	return got["connectId"].(string)
}

// deliveries are what became of every webhook.
func (w *world) deliveries() []map[string]any {
	w.t.Helper()
	return w.control(200, "GET", "/docusign/deliveries", nil).list(w.t)
}
