// Package link ties records of vendors whose records are no deals, an envelope for example, to the
// deals that they belong to: by the claims that both make, or by a person's word. It is a library of
// translate, which alone acts upon what is decided here, and the desk of the link commands.
//
// What it guarantees: a record is tied to a deal of its own tenant, by evidence that exactly one deal
// shares, or not at all. A decision is a register: written once per record and number, committed
// before anything is produced, so that whoever comes after a crash decides the same. What a person
// undid is never decided again by the ladder. Claims stand in the tables as HMACs under the tenant's
// key. It calls no vendor and produces nothing.
package link

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/avro/event"
	"conveyance/producers"
)

// claimsMax is how many claims of one kind are kept of a record or deal: an envelope that a hundred
// people sign ties no more by the last of them, and statements are bounded.
const claimsMax = 50

// Claim is a piece of evidence without its value: its kind, a Claim constant of producers, and its
// HMAC, which holds tenant and kind in it.
type Claim struct{ Kind, Hash string }

func (c Claim) String() string { return c.Kind + ":" + c.Hash }

func byKind(a, b Claim) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Hash, b.Hash)) }

// fields are the names of the fields that people fill in, by the account's settings.
type fields struct {
	Deal    string `json:"deal_field"`
	MLS     string `json:"mls_field"`
	Escrow  string `json:"escrow_field"`
	Address string `json:"address_field"`
}

// The fields where an account's settings name no others.
const (
	dealField    = "deal id"
	mlsField     = "mls number"
	escrowField  = "escrow number"
	addressField = "property address"
)

// kinds says which kind of claim each field makes.
func kinds(settings json.RawMessage) map[string]string {
	var f fields
	_ = json.Unmarshal(settings, &f) // held to the vendor's schema when they were applied
	out := map[string]string{}
	for _, one := range []struct{ kind, name, usual string }{
		{producers.ClaimAddress, f.Address, addressField},
		{producers.ClaimEscrow, f.Escrow, escrowField},
		{producers.ClaimMLS, f.MLS, mlsField},
		{producers.ClaimDealID, f.Deal, dealField},
	} {
		name := strings.ToLower(strings.TrimSpace(one.name))
		if name == "" {
			name = one.usual
		}
		out[producers.ClaimField+name] = one.kind
	}
	return out
}

// Claims are the claims that count, hashed, each once, in order. settings are the account's, which say
// what the fields mean that people filled in; a field that they do not name ties nothing. It is pure.
func Claims(tenantKey []byte, all []producers.Claim, settings json.RawMessage) []Claim {
	if len(all) == 0 {
		return nil
	}
	var named map[string]string
	out := make([]Claim, 0, len(all))
	for _, c := range all {
		if strings.HasPrefix(c.Kind, producers.ClaimField) {
			if named == nil {
				named = kinds(settings)
			}
			c.Kind = named[c.Kind]
		}
		if c.Value = normal(c); c.Value != "" {
			out = append(out, Claim{c.Kind, event.Pseudonym(tenantKey, "claim/"+c.Kind, c.Value)})
		}
	}
	slices.SortFunc(out, byKind)
	out = slices.Compact(out)
	n := map[string]int{}
	return slices.DeleteFunc(out, func(c Claim) bool {
		n[c.Kind]++
		return n[c.Kind] > claimsMax
	})
}

// normal is a claim's value as both sides write it; empty where it ties nothing. What a mapper made
// stays as it is.
func normal(c producers.Claim) string {
	switch c.Kind {
	case producers.ClaimDealID, producers.ClaimEmail:
		return strings.ToLower(strings.TrimSpace(c.Value))
	case producers.ClaimMLS, producers.ClaimEscrow:
		return producers.PlainClaim(c.Value)
	case producers.ClaimAddress:
		return producers.AddressClaim(c.Value)
	}
	return ""
}

// Decision is what was decided about a record, and when; each is one event on links.v1.
type Decision struct {
	Resource string         `json:"resource"` // key of the record
	Seq      int64          `json:"seq"`      // from 1, without gaps
	Deal     string         `json:"deal"`     // key of the deal; empty = the link before was undone
	Rung     event.LinkRung `json:"rung"`
	Evidence []string       `json:"evidence"` // shared claims as kind:HMAC
	Actor    *string        `json:"actor"`    // nil = the ladder
	Reason   string         `json:"reason"`
	At       time.Time      `json:"at"`
}

// Links is what is decided about a record and which decision was acted upon: its events are on the
// bus. Decisions begin with that one, in order; none was acted upon at 0.
type Links struct {
	Acted     int64
	Decisions []Decision
}

// InForce is the last decision; false where there is none.
func (l Links) InForce() (Decision, bool) {
	if len(l.Decisions) == 0 {
		return Decision{}, false
	}
	return l.Decisions[len(l.Decisions)-1], true
}

// Open are the decisions that were not acted upon, in order.
func (l Links) Open() []Decision {
	if len(l.Decisions) > 0 && l.Decisions[0].Seq == l.Acted {
		return l.Decisions[1:]
	}
	return l.Decisions
}

// Told is the deal under which the record's events were told last; empty for none.
func (l Links) Told() string {
	if l.Acted > 0 && len(l.Decisions) > 0 && l.Decisions[0].Seq == l.Acted {
		return l.Decisions[0].Deal
	}
	return ""
}

// Record is a record that may be tied to a deal.
type Record struct {
	Resource string // its key
	Tenant   string
	Claims   []Claim
}

// Linker reads and writes the tables. It is safe for concurrent use.
type Linker struct {
	pool   *pgxpool.Pool
	schema string
}

// New returns a linker over the tables in schema, which is translate's.
func New(pool *pgxpool.Pool, schema string) *Linker { return &Linker{pool, schema} }
