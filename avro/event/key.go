package event

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
)

// Key returns the resource as tenant/vendor/account/kind/id, each part escaped so that no two
// resources share a key. It is the record key on snapshots topics, and the deal key of a deal
// whose first resource it is. It holds no personal data as long as vendors' ids hold none.
func (r Resource) Key() string {
	parts := []string{r.Tenant, r.Vendor, r.Account, r.Kind, r.ID}
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// ParseKey is the inverse of Key.
func ParseKey(key string) (Resource, error) {
	parts := strings.Split(key, "/")
	if len(parts) != 5 {
		return Resource{}, fmt.Errorf("resource key %q has %d parts, not tenant/vendor/account/kind/id", key, len(parts))
	}
	for i, p := range parts {
		u, err := url.PathUnescape(p)
		if err != nil {
			return Resource{}, fmt.Errorf("resource key %q: %w", key, err)
		}
		parts[i] = u
	}
	return Resource{Tenant: parts[0], Vendor: parts[1], Account: parts[2], Kind: parts[3], ID: parts[4]}, nil
}

// Pseudonym names a person, or any value that must not stand in clear, within one tenant: an
// HMAC-SHA-256 under the tenant's key, 22 characters of base64url (132 bits). kind keeps an e-mail
// and a phone of the same text apart.
func Pseudonym(tenantKey []byte, kind, value string) string {
	mac := hmac.New(sha256.New, tenantKey)
	mac.Write([]byte(kind))
	mac.Write([]byte{0})
	mac.Write([]byte(value))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))[:22]
}

// ContactKey is the record key on contacts.v1 and the contact_key within events: the pseudonym of
// the contact's first e-mail, else of its first phone, else of fallback (the resource's key and the
// place where the contact stands in it). E-mails must be lower case and phones normalised, as
// producers' mappers make them.
func ContactKey(tenantKey []byte, c Contact, fallback string) string {
	switch {
	case len(c.Emails) > 0:
		return Pseudonym(tenantKey, "email", c.Emails[0])
	case len(c.Phones) > 0:
		return Pseudonym(tenantKey, "phone", c.Phones[0])
	default:
		return Pseudonym(tenantKey, "place", fallback)
	}
}
