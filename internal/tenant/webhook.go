package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// tokenBytes of an endpoint's path: 256 bits cannot be guessed.
const tokenBytes = 32

// systemKeyPrefix stands before the id of a key of a vendor's whole system, so that it is never
// taken for an account's key of the same name.
const systemKeyPrefix = "system/"

// WebhookKey is one key with which a vendor signs its deliveries.
type WebhookKey struct {
	ID        string // for metrics and logs; never the key
	Key       []byte
	NotBefore time.Time
	NotAfter  time.Time // zero = no end
}

// Live says whether the key counts at an instant.
func (k WebhookKey) Live(at time.Time) bool {
	return !at.Before(k.NotBefore) && (k.NotAfter.IsZero() || at.Before(k.NotAfter))
}

// String keeps a key out of logs and errors.
func (k WebhookKey) String() string { return "webhook key " + k.ID }

// GoString keeps a key out of %#v.
func (k WebhookKey) GoString() string { return k.String() }

// Endpoint is where one account's deliveries come in: the account and every key that may sign them,
// those of the account and those that the vendor gave to the whole system (their ids begin with
// system/). It shares its memory with other callers, who read it only.
type Endpoint struct {
	Account Account
	Keys    []WebhookKey
}

// Endpoints is how the door looks a path's token up, from memory, in a time that does not depend on
// the token. False where no account of that vendor has it.
type Endpoints interface {
	Endpoint(ctx context.Context, vendor, token string) (Endpoint, bool)
}

var _ Endpoints = (*Store)(nil)

// door is a vendor's endpoint by the hash of its token: what a lookup compares says nothing of how
// much of a token was right.
type door struct {
	vendor string
	token  [sha256.Size]byte
}

// keyring is whose keys they are; without tenant and account, the vendor's whole system's.
type keyring struct{ vendor, tenant, account string }

// Endpoint implements Endpoints. It copies nothing, so that an endpoint that is there costs no more
// than one that is not. A process without the sealing key has endpoints without keys.
func (s *Store) Endpoint(_ context.Context, vendor, token string) (Endpoint, bool) {
	e, ok := s.current().doors[door{vendor, sha256.Sum256([]byte(token))}]
	return e, ok
}

func newWebhookToken() string {
	token := make([]byte, tokenBytes)
	_, _ = rand.Read(token) // never fails
	return base64.RawURLEncoding.EncodeToString(token)
}

func (s *Store) endpointRow(k *known) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var (
			tenant, vendor, name string
			token, hash          []byte
		)
		if err := rows.Scan(&tenant, &vendor, &name, &token, &hash); err != nil {
			return err
		}
		t := k.tenants[tenant]
		if t == nil {
			return nil // it is newer than the tenants that were read
		}
		for i, a := range t.Accounts {
			if a.Vendor == vendor && a.Name == name {
				t.Accounts[i].WebhookToken = string(s.open(k, token, endpointOf(a.Key())))
				k.hashes[a.Key()] = [sha256.Size]byte(hash)
			}
		}
		return nil
	}
}

func (s *Store) webhookKeyRow(k *known) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var (
			of            keyring
			key           WebhookKey
			sealed        []byte
			before, after *time.Time
		)
		if err := rows.Scan(&of.vendor, &of.tenant, &of.account, &key.ID, &sealed, &before, &after); err != nil {
			return err
		}
		if before != nil {
			key.NotBefore = before.UTC()
		}
		if after != nil {
			key.NotAfter = after.UTC()
		}
		key.Key = s.open(k, sealed, webhookKeyOf(of, key.ID))
		k.keys[of] = append(k.keys[of], key)
		return nil
	}
}

// build makes the doors of what was read. A key that does not open signs nothing.
func (k *known) build() {
	for _, t := range k.tenants {
		for _, a := range t.Accounts {
			hash, ok := k.hashes[a.Key()]
			if !ok {
				continue
			}
			e := Endpoint{Account: a}
			for _, key := range k.signs(a) {
				if len(key.Key) > 0 {
					e.Keys = append(e.Keys, key)
				}
			}
			k.doors[door{a.Vendor, hash}] = e
		}
	}
}

// signs are the keys that may sign an account's deliveries: its own, then those of its vendor's system.
func (k *known) signs(a Account) []WebhookKey {
	keys := slices.Clone(k.keys[keyring{a.Vendor, a.Tenant, a.Name}])
	for _, key := range k.keys[keyring{vendor: a.Vendor}] {
		key.ID = systemKeyPrefix + key.ID
		keys = append(keys, key)
	}
	return keys
}

// WebhookKeys says by id and dates which keys may sign an account's deliveries, without the keys
// themselves. It needs no sealing key, and does not block.
func (s *Store) WebhookKeys(a Account) []WebhookKey {
	keys := s.current().signs(a)
	for i := range keys {
		keys[i].Key = nil
	}
	return keys
}

// WebhookURL is where the vendor delivers, for a door that is reached at public.
func (a Account) WebhookURL(public string) string {
	return strings.TrimRight(public, "/") + "/in/" + a.Vendor + "/" + a.WebhookToken
}
