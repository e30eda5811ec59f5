package docusign

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"conveyance/internal/sandbox/world"
)

const (
	// assertionMax is how long an assertion may be good.
	assertionMax = time.Hour
	// skew is how far a client's clock may be off.
	skew = time.Minute
)

// claims are what an assertion says.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Scope    string `json:"scope"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// claimsOf reads an assertion without believing it.
func claimsOf(assertion string) (claims, error) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return claims{}, errors.New("no_valid_assertion")
	}
	var head struct {
		Algorithm string `json:"alg"`
	}
	var c claims
	for i, v := range []any{&head, &c} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, v) != nil {
			return claims{}, errors.New("no_valid_assertion")
		}
	}
	if head.Algorithm != "RS256" {
		return claims{}, errors.New("unsupported_algorithm")
	}
	return c, nil
}

// asserted is the account that an assertion speaks for: iss is the app's id, sub a user's, aud the
// account server's host without a scheme.
func (s *api) asserted(r *http.Request, assertion string) (world.Account, error) {
	c, err := claimsOf(assertion)
	if err != nil {
		return world.Account{}, err
	}
	a, ok := s.member(c.Issuer, c.Subject)
	if !ok {
		return world.Account{}, errors.New("issuer_or_user_not_found")
	}
	key, err := publicKey(a)
	if err != nil {
		return world.Account{}, errors.New("no_valid_keys_or_signatures")
	}
	signed, signature := assertion[:strings.LastIndex(assertion, ".")], assertion[strings.LastIndex(assertion, ".")+1:]
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	sum := sha256.Sum256([]byte(signed))
	if err != nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) != nil {
		return world.Account{}, errors.New("no_valid_keys_or_signatures")
	}
	now, issued, expires := s.base.Clock(), time.Unix(c.IssuedAt, 0), time.Unix(c.Expires, 0)
	switch {
	case !slices.Contains([]string{"account.docusign.com", "account-d.docusign.com", r.Host, r.Host + "/" + name}, c.Audience):
		return world.Account{}, errors.New("invalid_audience")
	case issued.After(now.Add(skew)) || !expires.After(now.Add(-skew)) || expires.Sub(issued) > assertionMax+skew:
		return world.Account{}, errors.New("expired_or_not_yet_valid")
	case !slices.Contains(strings.Fields(c.Scope), "signature"):
		return world.Account{}, errors.New("scope_lacks_signature")
	}
	return a, nil
}

// publicKey is the half of the account's key that its owner gave to the vendor.
func publicKey(a world.Account) (*rsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(a.Credential["private_key"]))
	if block == nil {
		return nil, errors.New("it is no PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return &key.PublicKey, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("it is no RSA key")
	}
	return &private.PublicKey, nil
}
