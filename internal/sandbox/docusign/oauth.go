package docusign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// authorize asks a person for consent and sends the browser back with a code: at once where
// login_hint names the account, or where consent is automatic and there is one account only.
func (s *api) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	accounts := s.ofClient(q.Get("client_id"))
	if err != nil || back.Host == "" || (back.Scheme != "http" && back.Scheme != "https") || len(accounts) == 0 {
		http.Error(w, "the client_id is not known, or the redirect_uri is no http(s) URL", http.StatusBadRequest)
		return
	}
	answer := url.Values{}
	if state := q.Get("state"); state != "" {
		answer.Set("state", state)
	}
	hint := q.Get("login_hint")
	at := slices.IndexFunc(accounts, func(a world.Account) bool { return hinted(a, hint) })
	if at < 0 && s.base.AutoConsent && len(accounts) == 1 {
		at = 0
	}
	switch {
	case q.Get("response_type") != "code":
		answer.Set("error", "unsupported_response_type")
	case !slices.Contains(strings.Fields(q.Get("scope")), "signature"):
		answer.Set("error", "invalid_scope")
	case q.Has("denied"):
		answer.Set("error", "access_denied")
	case at < 0:
		ask(w, q, accounts)
		return
	default:
		if err := s.setConsent(accounts[at], true); err != nil {
			refuse(w, http.StatusInternalServerError, err.Error())
			return
		}
		answer.Set("code", s.sign(accounts[at], token{
			Kind: codeToken, Number: s.base.Records.NewID(), Redirect: q.Get("redirect_uri"), Challenge: q.Get("code_challenge"),
		}, codeLife))
	}
	with := back.Query()
	for k := range answer {
		with.Set(k, answer.Get(k))
	}
	back.RawQuery = with.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound) //nolint:gosec // G710: to send people back where the app says is what it is for
}

// ofClient are an app's accounts, in the order of the tenants.
func (s *api) ofClient(client string) []world.Account {
	var out []world.Account
	for _, a := range world.Accounts(s.base.Tenants, name) {
		if client != "" && a.Credential["client_id"] == client {
			out = append(out, a)
		}
	}
	return out
}

// hinted says whether a login hint means an account: by its user's e-mail or id, or by its own.
func hinted(a world.Account, hint string) bool {
	return hint != "" && (a.Matches(hint) || strings.EqualFold(hint, email(a)) ||
		strings.EqualFold(hint, user(a)) || strings.EqualFold(hint, a.ExternalID))
}

// page has a button per account, and one to refuse.
var page = template.Must(template.New("consent").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Simulated DocuSign</title></head><body>
<h1>Simulated DocuSign</h1><p>An app asks to act for you: {{.Scope}}</p><form method="get">
{{range .Fields}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">
{{end}}{{range .Accounts}}<button name="login_hint" value="{{.}}">Allow access to {{.}}</button>
{{end}}<button name="denied" value="true">Refuse</button>
</form></body></html>
`))

func ask(w http.ResponseWriter, q url.Values, accounts []world.Account) {
	type field struct{ Name, Value string }
	var data struct {
		Scope    string
		Fields   []field
		Accounts []string
	}
	data.Scope = q.Get("scope")
	for k := range q {
		if k != "login_hint" {
			data.Fields = append(data.Fields, field{k, q.Get(k)})
		}
	}
	for _, a := range accounts {
		data.Accounts = append(data.Accounts, a.Short())
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, data) // into memory; the data are strings
}

// refusal is an answer of the token endpoint that gives nothing.
type refusal struct{ code, why string }

func (e refusal) Error() string { return e.code + ": " + e.why }

// token trades a code, a refresh token or an assertion for tokens.
func (s *api) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		decline(w, refusal{"invalid_request", "the form cannot be read"})
		return
	}
	var out map[string]any
	err := error(refusal{"unsupported_grant_type", "it is authorization_code, refresh_token or jwt-bearer"})
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		out, err = s.fromCode(r)
	case "refresh_token":
		out, err = s.fromRefresh(r)
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		out, err = s.fromAssertion(r)
	}
	if err != nil {
		decline(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	reply.JSON(w, http.StatusOK, out)
}

func same(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

func decline(w http.ResponseWriter, err error) {
	var e refusal
	if !errors.As(err, &e) {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	status := http.StatusBadRequest
	if e.code == "invalid_client" {
		status = http.StatusUnauthorized
	}
	reply.JSON(w, status, map[string]any{"error": e.code, "error_description": e.why})
}

// presented is the live token of a kind in a form, sent by its own app.
func (s *api) presented(r *http.Request, field, kind string) (token, world.Account, error) {
	t, a, ok := s.read(r.PostForm.Get(field))
	id, secret, basic := r.BasicAuth()
	if !basic || (ok && (!same(id, a.Credential["client_id"]) || !same(secret, a.Credential["client_secret"]))) {
		return token{}, a, refusal{"invalid_client", "the app's id and secret are not valid"}
	}
	if !ok || !s.live(a, t, kind) {
		return token{}, a, refusal{"invalid_grant", "the " + field + " is expired, revoked or unknown"}
	}
	return t, a, nil
}

// fromCode begins a family. A code that comes again ends what came of it.
func (s *api) fromCode(r *http.Request) (map[string]any, error) {
	t, a, err := s.presented(r, "code", codeToken)
	if err != nil {
		return nil, err
	}
	if to := r.PostForm.Get("redirect_uri"); to != "" && to != t.Redirect {
		return nil, refusal{"invalid_grant", "the redirect_uri is another"}
	}
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if t.Challenge != "" && t.Challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return nil, refusal{"invalid_grant", "the code_verifier does not match"}
	}
	return s.next(a, world.GUID("grant", r.PostForm.Get("code")), 0)
}

func (s *api) fromRefresh(r *http.Request) (map[string]any, error) {
	t, a, err := s.presented(r, "refresh_token", refreshToken)
	if err != nil {
		return nil, err
	}
	return s.next(a, t.Family, t.Number)
}

// next gives the tokens that follow the number-th refresh token of a family, once. Whoever presents
// it again holds a stolen copy, or was stolen from: the family ends.
func (s *api) next(a world.Account, family string, number int64) (map[string]any, error) {
	reused := false
	_, err := s.base.Records.Put(familyKey(a, family), func(old records.Record, _ time.Time) (records.Change, error) {
		n, _ := old.Body["number"].(json.Number)
		at, _ := n.Int64()
		reused = at != number
		return records.Change{Body: map[string]any{"number": max(at, number+1), "revoked": reused || old.Body["revoked"] == true}}, nil
	})
	if err != nil {
		return nil, err
	}
	if reused {
		return nil, refusal{"invalid_grant", "it was used before; everything that came of it is revoked"}
	}
	out := s.access(a, family, accessLife)
	out["refresh_token"] = s.sign(a, token{Kind: refreshToken, Family: family, Number: number + 1}, refreshLife)
	return out, nil
}

func (s *api) fromAssertion(r *http.Request) (map[string]any, error) {
	a, err := s.asserted(r, r.PostForm.Get("assertion"))
	if err != nil {
		return nil, refusal{"invalid_grant", err.Error()}
	}
	if s.consent(a).revoked {
		return nil, refusal{"consent_required", "the user has not consented to the app"}
	}
	return s.access(a, "", jwtLife), nil
}

func (s *api) access(a world.Account, family string, life time.Duration) map[string]any {
	return map[string]any{
		"access_token": s.sign(a, token{Kind: accessToken, Family: family, Number: s.base.Records.NewID()}, life),
		"token_type":   "Bearer", "scope": "signature impersonation", "expires_in": max(1, int(s.base.Scaled(life).Seconds())),
	}
}

// userinfo says who the token's user is, and where the account's API is.
func (s *api) userinfo(w http.ResponseWriter, r *http.Request) {
	a, live := s.bearer(r)
	if !live {
		refuse(w, http.StatusUnauthorized, "the access token is expired or invalid")
		return
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	reply.JSON(w, http.StatusOK, map[string]any{
		"sub": user(a), "name": "Olive Harrow", "given_name": "Olive", "family_name": "Harrow", "email": email(a),
		"created": "2026-01-05T08:00:00.000", "accounts": []any{map[string]any{
			"account_id": a.ExternalID, "is_default": true, "account_name": a.Tenant, "base_uri": scheme + "://" + r.Host + "/" + name,
		}},
	})
}
