package skyslope

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

const (
	// sessionLife is how long a session is good, in the vendor's time.
	sessionLife = 2 * time.Hour
	// clockTolerance is how far a login's timestamp may lie from our clock, either way.
	clockTolerance = 5 * time.Minute
	stampLayout    = "2006-01-02T15:04:05Z"
)

// open takes an account in, with its users and offices.
func (s *api) open(a world.Account) error {
	for _, name := range []string{"client_id", "client_secret", "access_key", "access_secret"} {
		if a.Credential[name] == "" {
			return fmt.Errorf("account %s: its credential lacks %s", a.Key(), name)
		}
	}
	key := a.Credential["access_key"]
	if other, taken := s.byKey[key]; taken {
		return fmt.Errorf("accounts %s and %s have the same access_key", other.Key(), a.Key())
	}
	s.byKey[key] = a
	return s.people(a)
}

// login trades a signed timestamp for a session.
func (s *api) login(w http.ResponseWriter, r *http.Request) {
	var client struct{ ClientID, ClientSecret string }
	if err := reply.Into(r, &client); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	a, err := s.signed(r, client.ClientID, client.ClientSecret)
	if err != nil {
		refuse(w, http.StatusUnauthorized, err.Error())
		return
	}
	ends := s.base.Clock().UTC().Add(s.base.Scaled(sessionLife))
	reply.JSON(w, http.StatusOK, map[string]any{
		"Session": token(a, strconv.FormatInt(ends.UnixMilli(), 10)), "Expiration": ends.Format("2006-01-02T15:04:05.000Z"),
	})
}

// signed returns the account that signed a login: base64(HMAC-SHA256(AccessSecret,
// clientId:clientSecret:timestamp)) behind its access key.
func (s *api) signed(r *http.Request, id, secret string) (world.Account, error) {
	key, signature, ok := credential(r)
	a, known := s.byKey[key]
	if !ok || !known || !same(id, a.Credential["client_id"]) || !same(secret, a.Credential["client_secret"]) {
		return world.Account{}, errors.New("the credentials are not valid")
	}
	stamp := r.Header.Get("Timestamp")
	at, err := time.Parse(stampLayout, stamp)
	if err != nil || s.base.Clock().Sub(at).Abs() > clockTolerance {
		return world.Account{}, errors.New("the timestamp is not that of now")
	}
	if !same(signature, sign(a.Credential["access_secret"], id+":"+secret+":"+stamp)) {
		return world.Account{}, errors.New("the signature does not match")
	}
	return a, nil
}

// credential reads "Authorization: ss {AccessKey}:{hmac}".
func credential(r *http.Request) (key, signature string, ok bool) {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "ss ")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// token names the account and the end, signed with the account's secret: it outlives a restart, and
// dies with the credential.
func token(a world.Account, ends string) string {
	key := a.Credential["access_key"]
	text := key + "\x00" + ends + "\x00" + sign(a.Credential["access_secret"], key+"\x00"+ends)
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// session is whose session a token is, and whether it is still good.
func (s *api) session(tok string) (world.Account, bool) {
	text, err := base64.RawURLEncoding.DecodeString(tok)
	if err != nil {
		return world.Account{}, false
	}
	parts := strings.Split(string(text), "\x00")
	a := s.byKey[parts[0]]
	if len(parts) != 3 || a.Tenant == "" || !same(tok, token(a, parts[1])) {
		return world.Account{}, false
	}
	ends, err := strconv.ParseInt(parts[1], 10, 64)
	return a, err == nil && s.base.Clock().UnixMilli() < ends
}

// caller is whose request it is, by session or, at login, by access key.
func (s *api) caller(r *http.Request) world.Account {
	if key, _, ok := credential(r); ok {
		return s.byKey[key]
	}
	a, _ := s.session(r.Header.Get("Session"))
	return a
}

func sign(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func same(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }
