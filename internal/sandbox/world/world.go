// Package world is what every simulated vendor shares: the brokerages with their accounts and what
// they want of each destination, the people who work for them, and how large the world may grow.
// Everybody in it is invented: mail goes to example and test domains, telephones have the exchange 555.
package world

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Tenant is one brokerage of the simulated world.
type Tenant struct {
	ID, Name     string
	Accounts     []Account
	FollowUpBoss FUBConfig
}

// Account is a brokerage's account at one vendor.
type Account struct {
	Tenant       string // filled from the tenant that holds the account
	Vendor, Name string
	ExternalID   string // the vendor's id of the account
	// Credential is what the vendor asks for, by the names that the product's tenant files use:
	// skyslope client_id client_secret access_key access_secret; followupboss api_key x_system
	// x_system_key (the last two optional); docusign client_id, client_secret and user_id with
	// private_key (either or both), and hmac_key_1, hmac_key_2, … with which Connect signs.
	Credential map[string]string
	// Settings are the account's settings in the product's tenant files that stories and truth need:
	// of docusign deal_field, mls_field, escrow_field and address_field.
	Settings map[string]string
}

// Setting is a setting, or otherwise where it is not set.
func (a Account) Setting(name, otherwise string) string {
	if v := a.Settings[name]; v != "" {
		return v
	}
	return otherwise
}

// FUBConfig is what a tenant wants of its CRM: the part of its configuration that truth needs.
type FUBConfig struct {
	Stages     map[string]string // transaction status → a person's stage
	DealStages map[string]string // transaction status → a deal's stage
	// CreateMissing says that people whom the CRM lacks are made there.
	CreateMissing bool
	ForwardOnly   bool // a person's stage never goes back
	AssignAgents  bool // new people belong to the deal's primary agent
	Notes         bool // each signature is a note on its signer's timeline
	// EffectsFrom is the go-live instant: what changed before it has no effect in the CRM.
	EffectsFrom time.Time
}

// Key is tenant/vendor/name.
func (a Account) Key() string { return a.Tenant + "/" + a.Vendor + "/" + a.Name }

// Short is tenant/name: how control calls name an account within one vendor.
func (a Account) Short() string { return a.Tenant + "/" + a.Name }

// Matches says whether filter names the account: empty (all), a tenant, tenant/name or the key.
func (a Account) Matches(filter string) bool {
	return filter == "" || (a.Tenant != "" && (filter == a.Tenant || filter == a.Short() || filter == a.Key()))
}

// Accounts are the accounts at one vendor, of all tenants, in the order of the tenants.
func Accounts(tenants []Tenant, vendor string) []Account {
	var out []Account
	for _, t := range tenants {
		for _, a := range t.Accounts {
			if a.Vendor == vendor {
				a.Tenant = t.ID
				out = append(out, a)
			}
		}
	}
	return out
}

// Pick returns the account that filter names first; an empty filter is good where there is one
// account only.
func Pick(accounts []Account, filter string) (Account, error) {
	if filter == "" && len(accounts) > 1 {
		return Account{}, errors.New("say which tenant: ?tenant=ID or ?tenant=ID/ACCOUNT")
	}
	for _, a := range accounts {
		if a.Matches(filter) {
			return a, nil
		}
	}
	return Account{}, fmt.Errorf("no account matches tenant %q", filter)
}

// Check reports the first thing wrong with the tenants: a name that is empty, holds a slash or
// comes twice, an account at a vendor that is not simulated.
func Check(tenants []Tenant, vendors []string) error {
	known := map[string]bool{}
	for _, v := range vendors {
		known[v] = true
	}
	tenantSeen, seen := map[string]bool{}, map[string]bool{}
	for _, t := range tenants {
		if t.ID == "" || strings.Contains(t.ID, "/") || tenantSeen[t.ID] {
			return fmt.Errorf("tenant %q: ids are unique, not empty and hold no slash", t.ID)
		}
		tenantSeen[t.ID] = true
		for _, a := range t.Accounts {
			a.Tenant = t.ID
			switch {
			case !known[a.Vendor]:
				return fmt.Errorf("account %s: vendor %q is not simulated; there are %s", a.Key(), a.Vendor, strings.Join(vendors, ", "))
			case a.Name == "" || strings.Contains(a.Name, "/") || seen[a.Key()]:
				return fmt.Errorf("account %s: names are unique, not empty and hold no slash", a.Key())
			}
			seen[a.Key()] = true
		}
	}
	return nil
}
