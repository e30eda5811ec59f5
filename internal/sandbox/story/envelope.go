package story

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"conveyance/internal/sandbox/world"
)

const (
	// leadMax and lagMax are how many steps before and after a deal's beginning its envelope's may lie.
	leadMax = 12
	lagMax  = 40
)

// withEnvelopes weaves envelopes into a story, for the tenants that have a DocuSign account: one per
// deal, in the tenant's first account. Every step of an envelope changes its status.
func withEnvelopes(tenants []world.Tenant, seed int64, steps []Step) []Step {
	before := map[int][]Step{} // by the step that they come before
	for i, t := range tenants {
		accounts := world.Accounts([]world.Tenant{t}, "docusign")
		if len(accounts) == 0 {
			continue
		}
		c := &clerk{
			rng:     rand.New(rand.NewPCG(uint64(seed), 0x5160+uint64(i))), //nolint:gosec // G404, G115: a story, not a secret
			account: accounts[0], seed: seed, numbers: map[string]int{},
		}
		deals := subjects(steps, t.ID)
		for _, d := range deals {
			c.numbers[d.mls]++
			c.numbers[d.escrow]++
		}
		for n, d := range deals {
			life := c.life(d, n)
			for i, place := range c.places(d, len(life), len(steps)) {
				before[place] = append(before[place], Step{life[i]})
			}
		}
	}
	if len(before) == 0 {
		return steps
	}
	var out []Step
	for i := range len(steps) + 1 {
		out = append(out, before[i]...)
		if i < len(steps) {
			out = append(out, steps[i])
		}
	}
	return out
}

// places are the steps before which n things of a deal's envelope happen, in order: all before the
// deal begins, or all after.
func (c *clerk) places(d subject, n, steps int) []int {
	first, last := max(0, d.begins-leadMax), d.begins
	if c.chance(50) {
		first, last = d.begins+1, min(d.begins+lagMax, steps)
	}
	out := make([]int, n)
	for i := range out {
		out[i] = first + c.rng.IntN(last-first+1)
	}
	slices.Sort(out)
	return out
}

// life is an envelope's changes in order: sent, signed by one after the other, completed; some are
// declined or voided before the last signs.
func (c *clerk) life(d subject, n int) []Change {
	e := c.evidence(d, n)
	fields, documents := []any{}, []any{}
	for name, value := range e.fields { // one at most
		fields = append(fields, map[string]any{"name": name, "value": value, "show": "true", "required": "false"})
	}
	for i, name := range []string{"Purchase Agreement.pdf", "Seller Disclosure.pdf"}[:1+c.rng.IntN(2)] {
		documents = append(documents, map[string]any{"documentId": strconv.Itoa(i + 1), "name": name, "type": "content"})
	}
	if c.chance(10) {
		e.signers = slices.Clone(e.signers)
		e.signers[0].email = strings.ToUpper(e.signers[0].email)
	}
	begin := map[string]any{
		"status": "sent", "emailSubject": "Please sign: " + text(d.address["streetNumber"]) + " " + text(d.address["streetAddress"]),
		"customFields":      map[string]any{"textCustomFields": fields, "listCustomFields": []any{}},
		"envelopeDocuments": documents, "recipients": signed(e.signers, 0, "sent"),
	}
	patches := []map[string]any{begin}
	for i := range e.signers[1:] {
		patches = append(patches, map[string]any{"status": "delivered", "recipients": signed(e.signers, i+1, "delivered")})
	}
	switch draw := c.rng.IntN(100); {
	case draw < 4:
		patches = append(patches, map[string]any{"status": "declined", "recipients": signed(e.signers, len(e.signers)-1, "declined")})
	case draw < 7:
		patches = append(patches, map[string]any{"status": "voided", "voidedReason": "the terms changed"})
	default:
		patches = append(patches, map[string]any{"status": "completed", "recipients": signed(e.signers, len(e.signers), "")})
	}
	out := make([]Change, len(patches))
	for i, p := range patches {
		out[i] = Change{
			Vendor: "docusign", Kind: "envelopes", Tenant: c.account.Tenant, Account: c.account.Name,
			GUID: world.GUID("envelope", strconv.FormatInt(c.seed, 10), d.guid), Patch: p,
		}
	}
	return out
}

// signed are an envelope's recipients when the first n have signed and the others stand otherwise.
func signed(signers []signer, n int, otherwise string) map[string]any {
	list := make([]any, len(signers))
	for i, s := range signers {
		status := otherwise
		if i < n {
			status = "completed"
		}
		list[i] = map[string]any{
			"name": s.name, "email": s.email, "recipientId": strconv.Itoa(i + 1), "routingOrder": strconv.Itoa(i + 1),
			"roleName": [...]string{"Client", "Other Party"}[i], "status": status,
		}
	}
	return map[string]any{"signers": list}
}
