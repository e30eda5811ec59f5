package oauth

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"conveyance/internal/tenant"
)

const (
	// tokenBytesMax of a token: DocuSign's are below 1 KiB, a header of 8 KiB is refused by many servers.
	tokenBytesMax = 8 << 10
	// assertionTime is how long a signed assertion counts; it is used at once, and clocks differ.
	assertionTime = 10 * time.Minute
	// shortLife of a token is one of which goodFor is too much: of simulated vendors in quick time.
	shortLife = 4 * goodFor
)

// server is an account's side of its vendor's account server.
type server struct {
	vendor tenant.OAuth
	base   string
	fields map[string]string // of the credential
	client *http.Client
}

// serverOf returns the account server, at the vendor's own place or where the account's settings say.
func (t *Tokens) serverOf(a tenant.Account, fields map[string]string) (*server, error) {
	s := &server{vendor: t.cfg.Vendors[a.Vendor], fields: fields}
	var settings struct {
		Base string `json:"oauth_base_url"`
	}
	_ = json.Unmarshal(a.Settings, &settings) // they were checked when they were applied
	s.base = strings.TrimSuffix(s.vendor.BaseURL, "/")
	if settings.Base != "" {
		s.base = strings.TrimSuffix(settings.Base, "/")
	}
	var err error
	if s.client, err = t.cfg.Below(s.base); err != nil {
		return nil, &tenant.Refusal{Cause: "account misconfigured: oauth_base_url"}
	}
	s.client.Timeout = tenant.RenewTimeout // the JWT flow of the library knows no context
	return s, nil
}

// byAssertion says that the account needs no refresh token.
func (s *server) byAssertion() bool {
	return s.vendor.JWT && s.fields["user_id"] != "" && s.fields["private_key"] != ""
}

func (s *server) code(redirect string) *oauth2.Config {
	scopes := s.vendor.Scopes
	if s.byAssertion() {
		scopes = s.vendor.JWTScopes
	}
	return &oauth2.Config{
		ClientID: s.fields["client_id"], ClientSecret: s.fields["client_secret"], RedirectURL: redirect, Scopes: scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: s.base + s.vendor.AuthorizePath, TokenURL: s.base + s.vendor.TokenPath,
			AuthStyle: oauth2.AuthStyleInHeader, // never tried in two ways: a code and a refresh token count once
		},
	}
}

// grant asks for new tokens in the way of the account's credential. Its errors are *tenant.Refusal or
// carry verdicts.
func (t *Tokens) grant(ctx context.Context, a tenant.Account, held tenant.Credential) (tenant.Credential, error) {
	s, err := t.serverOf(a, held.Fields)
	if err != nil {
		return held, err
	}
	var got tenant.Credential
	switch {
	case s.byAssertion():
		got, err = s.assert(ctx)
	case held.RefreshToken != "":
		got, err = s.refresh(ctx, held.RefreshToken)
	default:
		return held, t.refusal(ctx, a, errNoConsent)
	}
	t.count(a, err)
	if err != nil {
		return held, t.refusal(ctx, a, err)
	}
	got.Fields = held.Fields
	return got, nil
}

func (s *server) refresh(ctx context.Context, token string) (tenant.Credential, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.client)
	return s.granted(s.code("").TokenSource(ctx, &oauth2.Token{RefreshToken: token}).Token())
}

func (s *server) exchange(ctx context.Context, code string, f tenant.Flow) (tenant.Credential, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.client)
	return s.granted(s.code(f.Redirect).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier)))
}

func (s *server) assert(ctx context.Context) (tenant.Credential, error) {
	if !isRSA(s.fields["private_key"]) {
		return tenant.Credential{}, &tenant.Refusal{Cause: "account refused: private_key is no RSA key in PEM"}
	}
	audience, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(s.base, "https://"), "http://"), "/")
	cfg := jwt.Config{
		Email: s.fields["client_id"], Subject: s.fields["user_id"], PrivateKey: []byte(s.fields["private_key"]),
		Scopes: s.vendor.JWTScopes, TokenURL: s.base + s.vendor.TokenPath, Audience: audience, Expires: assertionTime,
	}
	got, err := s.granted(cfg.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, s.client)).Token())
	var refused *answerError
	if errors.As(err, &refused) && refused.code == "invalid_grant" {
		// No consent mends a user or a key that the vendor does not know.
		return got, &tenant.Refusal{Cause: "account refused: invalid_grant for user_id or private_key"}
	}
	got.RefreshToken = "" // none is needed, and none is to be lost
	return got, err
}

// isRSA says whether a text holds a private key that can sign.
func isRSA(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return true
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return false
	}
	_, is := key.(*rsa.PrivateKey)
	return is
}

// granted checks what the library understood of an answer.
func (s *server) granted(tok *oauth2.Token, err error) (tenant.Credential, error) {
	if err != nil {
		return tenant.Credential{}, read(err)
	}
	if !isToken(tok.AccessToken) || (tok.RefreshToken != "" && !isToken(tok.RefreshToken)) ||
		(tok.TokenType != "" && !strings.EqualFold(tok.TokenType, "bearer")) {
		return tenant.Credential{}, &answerError{text: "the account server's answer holds no bearer token"}
	}
	c := tenant.Credential{AccessToken: tok.AccessToken, RefreshToken: tok.RefreshToken, ExpiresAt: tok.Expiry.Round(0)}
	if life := time.Until(tok.Expiry); !tok.Expiry.IsZero() && life < shortLife {
		c.ExpiresAt = c.ExpiresAt.Add(goodFor - life/4) // used for three quarters of its life, as good reads it
	}
	return c, nil
}

// isToken says whether a text can stand in a header.
func isToken(s string) bool {
	return s != "" && len(s) <= tokenBytesMax && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func (t *Tokens) count(a tenant.Account, err error) {
	outcome := "granted"
	if e, ok := errors.AsType[*answerError](err); ok && e.code == "" {
		outcome = "unanswered"
	} else if err != nil {
		outcome = "refused"
	}
	t.grants.WithLabelValues(a.Vendor, outcome).Inc()
}
