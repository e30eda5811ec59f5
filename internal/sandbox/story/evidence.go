package story

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"conveyance/internal/sandbox/world"
)

// Kinds of evidence that tie an envelope to its deal, and how many of a hundred envelopes have each.
// A deal that cannot have a kind (two people with e-mails, a number that no other deal has) has the
// deal field. Evidence never fits two deals.
const (
	byField   = "field"   // 50: a custom field holds the deal's id
	byNumber  = "number"  // 15: a custom field holds the MLS or the escrow number
	byEmails  = "emails"  // 20: two of the deal's people sign
	byAddress = "address" // 10: one of them signs, and a custom field holds the property's address
	byNothing = "none"    // 5: one of them signs, and nothing else is known
)

// The names of the custom fields where the account's settings give no others.
const (
	dealField    = "Deal ID"
	mlsField     = "MLS Number"
	escrowField  = "Escrow Number"
	addressField = "Property Address"
)

// subject is what an envelope's evidence is made of: a deal as the story tells it.
type subject struct {
	guid        string
	begins      int // the step in which it begins
	mls, escrow string
	address     map[string]any
	people      []signer // who buys or sells and has an e-mail, once each
}

type signer struct{ name, email string }

// subjects are the deals of a tenant, in the order in which they begin.
func subjects(steps []Step, tenant string) []subject {
	var out []subject
	at := map[string]int{}
	for i, step := range steps {
		for _, c := range step {
			if c.Tenant != tenant || c.Kind != "sales" {
				continue
			}
			n, known := at[c.GUID]
			if !known {
				n = len(out)
				at[c.GUID] = n
				out = append(out, subject{guid: c.GUID, begins: i, mls: text(c.Patch["mlsNumber"]), people: people(c.Patch)})
				out[n].address, _ = c.Patch["property"].(map[string]any)
			}
			if e := text(c.Patch["escrowNumber"]); e != "" {
				out[n].escrow = e
			}
		}
	}
	return out
}

func people(sale map[string]any) []signer {
	var out []signer
	for _, side := range []string{"buyers", "sellers"} {
		list, _ := sale[side].([]any)
		for _, p := range list {
			m, _ := p.(map[string]any)
			s := signer{name: strings.TrimSpace(text(m["firstName"]) + " " + text(m["lastName"])), email: text(m["email"])}
			if s.email != "" && !slices.ContainsFunc(out, func(o signer) bool { return strings.EqualFold(o.email, s.email) }) {
				out = append(out, s)
			}
		}
	}
	return out
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// evidence is what an envelope says of its deal.
type evidence struct {
	fields  map[string]string // custom fields by name
	signers []signer
}

// clerk makes the envelopes of one account up.
type clerk struct {
	rng     *rand.Rand
	account world.Account
	seed    int64
	numbers map[string]int // how many deals have a number
}

func (c *clerk) chance(percent int) bool { return c.rng.IntN(100) < percent }

// evidence draws a kind and makes it, or the next best.
func (c *clerk) evidence(d subject, n int) evidence {
	kind := byNothing
	draw := c.rng.IntN(100)
	for _, k := range []struct {
		kind  string
		share int
	}{{byField, 50}, {byNumber, 15}, {byEmails, 20}, {byAddress, 10}} {
		if draw -= k.share; draw < 0 {
			kind = k.kind
			break
		}
	}
	e := evidence{fields: map[string]string{}, signers: d.people[:min(len(d.people), 1+c.rng.IntN(2))]}
	stranger := signer{"Casey Stranger", "casey." + strconv.FormatInt(c.seed, 36) + "x" + strconv.Itoa(n) + "@elsewhere.example.com"}
	if len(e.signers) == 0 {
		e.signers = []signer{stranger}
	}
	switch {
	case kind == byNumber && d.escrow != "" && c.numbers[d.escrow] == 1 && c.chance(50):
		e.fields[c.account.Setting("escrow_field", escrowField)] = d.escrow
	case kind == byNumber && c.numbers[d.mls] == 1:
		e.fields[c.account.Setting("mls_field", mlsField)] = c.written(d.mls)
	case kind == byEmails && len(d.people) > 1:
		e.signers = d.people[:2]
	case kind == byAddress && len(d.people) > 0:
		e.signers = d.people[:1]
		e.fields[c.account.Setting("address_field", addressField)] = c.line(d.address)
	case kind == byNothing:
		e.signers = append(slices.Clone(d.people[:min(1, len(d.people))]), stranger)
	default:
		e.fields[c.account.Setting("deal_field", dealField)] = c.written(d.guid)
	}
	return e
}

// written is a word as people type it.
func (c *clerk) written(word string) string {
	switch c.rng.IntN(5) {
	case 0:
		return strings.ToUpper(word)
	case 1:
		return " " + word + " "
	default:
		return word
	}
}

// line is an address in one line, now and then with shortened words.
func (c *clerk) line(p map[string]any) string {
	street := text(p["streetNumber"]) + " " + text(p["streetAddress"])
	if c.chance(50) {
		street = strings.NewReplacer("Lane", "Ln", "Road", "Rd.").Replace(street)
	}
	if unit := text(p["unit"]); unit != "" {
		street += ", " + unit
	}
	return street + ", " + text(p["city"]) + ", " + text(p["state"]) + " " + text(p["zip"])
}
