package tenant

import (
	"encoding/json"
	"time"

	"conveyance/internal/verdict"
)

// Wanted is one tenant as its file describes it; package tenantfile reads it. What is not in Wanted
// (pauses, health, keys) an apply leaves alone.
type Wanted struct {
	ID, Name, TimeZone string
	Accounts           []WantedAccount
	Adapters           map[string]WantedAdapter // by destination name
	At                 Place
}

// WantedAccount is an account with its credential in clear.
type WantedAccount struct {
	Vendor, Name, ExternalID, BaseURL string
	Settings                          json.RawMessage
	Credential                        map[string]string
	Source                            string // the reference of the credential: file x or env Y
	At                                Place  // of the external id
}

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
	Tenant string   `json:"tenant"`
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
