package tenant

import (
	"encoding/json"
	"time"

	"conveyance/internal/verdict"
)

// Wanted is one file: a tenant, or, where System is set, the keys that a vendor gave to the whole
// system. Package tenantfile reads it. What is not in Wanted (pauses, health, tokens) an apply leaves
// alone.
type Wanted struct {
	ID, Name, TimeZone string
	Accounts           []WantedAccount
	Adapters           map[string]WantedAdapter // by destination name
	At                 Place

	System string             // a vendor; the file is no tenant's
	Keys   []WantedWebhookKey // of System

	// Warnings are what a person should look at and an apply does not mind.
	Warnings Problems
}

// WantedAccount is an account with its credential in clear.
type WantedAccount struct {
	Vendor, Name, ExternalID, BaseURL string
	Settings                          json.RawMessage
	Credential                        map[string]string
	Source                            string // the reference of the credential: file x or env Y
	Keys                              []WantedWebhookKey
	At                                Place // of the external id
}

// WantedWebhookKey is a key that signs webhooks, in clear. Its id is its name for as long as it lives.
type WantedWebhookKey struct {
	ID                  string
	Key                 []byte
	NotBefore, NotAfter time.Time // zero = always has been, and no end
	Source              string    // the reference of the key
}

// String keeps a key out of logs and errors.
func (k WantedWebhookKey) String() string { return "webhook key " + k.ID }

// GoString keeps a key out of %#v.
func (k WantedWebhookKey) GoString() string { return k.String() }

// Key is vendor/name, as people write it.
func (a WantedAccount) Key() string { return a.Vendor + "/" + a.Name }

// WantedAdapter is what a tenant wants of a destination.
type WantedAdapter struct {
	Account     string
	EffectsFrom time.Time // zero = not said: the instant of the first apply, or what it was
	Paused      bool
	Settings    json.RawMessage
	At          Place // of effects_from, or of the adapter
}

// Change is one thing that an apply changes.
type Change struct {
	Tenant string   `json:"tenant"`         // empty where it concerns a vendor's whole system
	Kind   string   `json:"kind"`           // tenant, account, credential, adapter
	Name   string   `json:"name,omitempty"` // vendor/account or destination
	Action string   `json:"action"`         // add, change, remove
	What   []string `json:"what,omitempty"` // a few words on each field; never a secret
}

// Result is what an apply changed, or a diff would change. Nothing changed = both are empty.
type Result struct {
	Changes []Change `json:"changes"`
	// Wake are the scopes whose held records should be tried now. The caller wakes them in every
	// group after the apply.
	Wake []verdict.Scope `json:"wake"`
}
