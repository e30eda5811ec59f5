package docusign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

// How long what the account server gives is good, in the vendor's time.
const (
	codeLife    = 2 * time.Minute
	accessLife  = 8 * time.Hour
	jwtLife     = time.Hour
	refreshLife = 30 * 24 * time.Hour
)

// Kinds of tokens.
const (
	codeToken    = "code"
	accessToken  = "access"
	refreshToken = "refresh"
)

// token is a code, an access or a refresh token: signed with the account's own secrets, so that it
// outlives a restart and dies with the credential.
type token struct {
	Kind      string `json:"k"`
	Account   string `json:"a"`
	Family    string `json:"f,omitempty"` // of one consent by a person; empty for the JWT grant
	Number    int64  `json:"n,omitempty"` // of a refresh token in its family
	Epoch     int64  `json:"e"`           // of the account's consent
	Ends      int64  `json:"x"`           // Unix milliseconds
	Redirect  string `json:"r,omitempty"` // of a code
	Challenge string `json:"c,omitempty"` // of a code: PKCE's, S256
}

func (s *api) sign(a world.Account, t token, life time.Duration) string {
	t.Account, t.Epoch = a.Key(), s.consent(a).epoch
	t.Ends = s.base.Clock().Add(s.base.Scaled(life)).UnixMilli()
	text, err := json.Marshal(t)
	if err != nil {
		return "" // strings and numbers always encode
	}
	return base64.RawURLEncoding.EncodeToString(text) + "." + base64.RawURLEncoding.EncodeToString(seal(a, text))
}

func seal(a world.Account, text []byte) []byte {
	c := a.Credential
	secret := sha256.Sum256([]byte(strings.Join([]string{c["client_id"], c["client_secret"], c["private_key"], a.ExternalID}, "\x00")))
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(text)
	return mac.Sum(nil)
}

// read is whose token a text is; false where nobody here gave it. It may be over.
func (s *api) read(text string) (token, world.Account, bool) {
	var t token
	first, second, _ := strings.Cut(text, ".")
	body, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil || json.Unmarshal(body, &t) != nil {
		return token{}, world.Account{}, false
	}
	mac, err := base64.RawURLEncoding.Strict().DecodeString(second)
	a, known := s.accounts[t.Account]
	if err != nil || !known || !hmac.Equal(mac, seal(a, body)) {
		return token{}, world.Account{}, false
	}
	return t, a, true
}

// live says whether a token of a kind still counts: neither it nor the consent behind it is over.
func (s *api) live(a world.Account, t token, kind string) bool {
	c := s.consent(a)
	if t.Kind != kind || t.Epoch != c.epoch || c.revoked || s.base.Clock().UnixMilli() >= t.Ends {
		return false
	}
	return t.Family == "" || s.base.Records.Now().Get(familyKey(a, t.Family)).Body["revoked"] != true
}

func familyKey(a world.Account, family string) records.Key {
	return records.Key{Account: a.Key(), Kind: grants, ID: family}
}

// bearer is whose access token a request carries, and whether it still counts.
func (s *api) bearer(r *http.Request) (world.Account, bool) {
	text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t, a, ok := s.read(text)
	return a, ok && s.live(a, t, accessToken)
}

// caller is whose request it is: by access token, or at the account server by what it trades in.
func (s *api) caller(r *http.Request) world.Account {
	if r.URL.Path != "/oauth/token" {
		a, _ := s.bearer(r)
		return a
	}
	if r.ParseForm() != nil { // what is parsed stays with the request
		return world.Account{}
	}
	for _, field := range []string{"refresh_token", "code"} {
		if _, a, ok := s.read(r.PostForm.Get(field)); ok {
			return a
		}
	}
	c, _ := claimsOf(r.PostForm.Get("assertion"))
	a, _ := s.member(c.Issuer, c.Subject)
	return a
}

// member is the account that a user administers, with the app client.
func (s *api) member(client, subject string) (world.Account, bool) {
	for _, a := range s.accounts {
		if subject != "" && user(a) == strings.ToLower(subject) && a.Credential["client_id"] == client {
			return a, true
		}
	}
	return world.Account{}, false
}

// consenting is whether an account lets its app in. Tokens of an earlier epoch are dead.
type consenting struct {
	epoch   int64
	revoked bool
}

func (s *api) consent(a world.Account) consenting {
	body := s.base.Records.Now().Get(consentKey(a)).Body
	n, _ := body["epoch"].(json.Number)
	epoch, _ := n.Int64() // written by us
	return consenting{epoch: epoch, revoked: body["revoked"] == true}
}

// setConsent takes consent away, with all tokens, or gives it.
func (s *api) setConsent(a world.Account, given bool) error {
	_, err := s.base.Records.Put(consentKey(a), func(old records.Record, _ time.Time) (records.Change, error) {
		n, _ := old.Body["epoch"].(json.Number)
		epoch, _ := n.Int64()
		if !given {
			epoch++
		}
		return records.Change{Body: map[string]any{"epoch": epoch, "revoked": !given}}, nil
	})
	return err
}

func consentKey(a world.Account) records.Key {
	return records.Key{Account: a.Key(), Kind: consent, ID: consent}
}
