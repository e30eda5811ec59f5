package tenant

import (
	"context"
	"time"
)

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
// those of the account and those that the vendor gave to the whole system.
type Endpoint struct {
	Account Account
	Keys    []WebhookKey
}

// Endpoints is how the door looks a path's token up, from memory, in a time that does not depend on
// the token. False where no account of that vendor has it.
type Endpoints interface {
	Endpoint(ctx context.Context, vendor, token string) (Endpoint, bool)
}
