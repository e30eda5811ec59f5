// Package tenant is who the brokerages are, which accounts they have at which vendors, and what
// they want done: truth in Postgres, YAML as its interface. Credentials are sealed at rest and in
// clear only in the memory of a process that calls the vendor. Readers see a change within
// RefreshAfter without a restart.
package tenant

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// RefreshAfter is how old a process's view of a tenant may be. DESIGN promises 5 s; half of it
// leaves room for a slow read.
const RefreshAfter = 2500 * time.Millisecond

// Tenant is one brokerage as it is configured now. Values are copies; the holder owns them.
type Tenant struct {
	ID     string // short, lower case, in keys and paths: lakeshore
	Name   string // for people
	Paused bool   // every effect and fetch of the tenant holds
	// PausedAt is when a person paused it; zero where it is not.
	PausedAt time.Time
	// PseudonymKey makes contact keys and claims (event.Pseudonym). Drawn once, never changed.
	PseudonymKey []byte
	// TimeZone is the IANA zone in which the tenant's vendors write dates without a zone.
	TimeZone string
	Accounts []Account
	Adapters map[string]Adapter // by destination name; absent = the adapter skips this tenant
	Version  int64              // of the configuration; rises with every apply
}

// Account is one login of a tenant at a vendor.
type Account struct {
	Tenant, Vendor, Name string // Name is main unless the tenant has several
	ExternalID           string // the vendor's id of the account; two accounts never share one
	BaseURL              string // where the vendor's API is; from the tenant's file, never from a payload
	Paused               bool
	PausedAt             time.Time       // when a person paused it; zero where it is not
	Settings             json.RawMessage // vendor-specific, checked against the vendor's JSON Schema
	Credential           Credential
	CreatedAt            time.Time
	// WebhookToken is the unguessable end of the path at which the vendor delivers: /in/<vendor>/<token>.
	// Drawn at the first apply, the same ever after. Empty in a process without the sealing key.
	WebhookToken string
	// Health is what the last calls said. A refused account is held until it is mended.
	Health Health
}

// Key is tenant/vendor/name: in logs, scopes and budgets.
func (a Account) Key() string { return a.Tenant + "/" + a.Vendor + "/" + a.Name }

// String keeps the webhook token out of logs and errors.
func (a Account) String() string { return "account " + a.Key() }

// GoString keeps it out of %#v.
func (a Account) GoString() string { return a.String() }

// Credential is what opens an account, in clear. It has no String method that would show it.
type Credential struct {
	Fields map[string]string // vendor-specific, for example api_key or access_secret
	// OAuth fields are filled by tenant connect.
	AccessToken, RefreshToken string
	ExpiresAt                 time.Time
}

// String keeps a credential out of logs and errors.
func (Credential) String() string { return "credential" }

// GoString keeps a credential out of %#v.
func (Credential) GoString() string { return "tenant.Credential{}" }

// Health is the state of an account as the vendor's answers show it.
type Health struct {
	Refused   bool // 401 or 403: waits for a person, or for the vendor to change its mind
	Cause     string
	Since     time.Time
	CheckedAt time.Time
}

// causeReconnect begins the cause of an account that a person has to connect again; the link follows.
const causeReconnect = "reconnect: "

// CauseReconnect is the cause of an account that waits for a person to open a link. Without a link it
// is the command that prints one.
func CauseReconnect(link string) string { return causeReconnect + link }

// Reconnect returns the link, or the command, by which a person connects the account again; empty
// where that is not what it waits for.
func (h Health) Reconnect() string {
	link, ok := strings.CutPrefix(h.Cause, causeReconnect)
	if !h.Refused || !ok {
		return ""
	}
	return link
}

// Adapter is what a tenant wants of one destination.
type Adapter struct {
	// EffectsFrom is the go-live instant: no older change has an effect at the destination.
	EffectsFrom time.Time
	Paused      bool
	// Account is the name of the account that the adapter uses at its vendor.
	Account  string
	Settings json.RawMessage // destination-specific, checked against its JSON Schema
}

// Account returns the tenant's account at a vendor by name, and false where there is none.
func (t Tenant) Account(vendor, name string) (Account, bool) {
	for _, a := range t.Accounts {
		if a.Vendor == vendor && a.Name == name {
			return a, true
		}
	}
	return Account{}, false
}

// Finding is something that a check found wrong at a vendor, with what to do about it.
type Finding struct {
	Tenant  string `json:"tenant"`
	Account string `json:"account,omitempty"`
	What    string `json:"what"`   // for example stage "Under Contract" does not exist
	Remedy  string `json:"remedy"` // for example create it in Follow Up Boss, or set create_missing
}

// Checker asks a vendor whether an account works as configured: credentials, the key's rights,
// names that the configuration uses. It changes nothing. An error is a failure to ask.
type Checker interface {
	Check(ctx context.Context, t Tenant, a Account) ([]Finding, error)
}
