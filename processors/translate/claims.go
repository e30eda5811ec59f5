package translate

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/processors/link"
	"conveyance/producers"
)

// claimsOf is what a record claims, by its account's settings.
func claimsOf(r event.Resource, f producers.Facts, who tenant.Tenant) []link.Claim {
	a, _ := who.Account(r.Vendor, r.Account)
	return link.Claims(who.PseudonymKey, f.Claims, a.Settings)
}

// claim notes what a deal claims, where that is not what was written last. Most changes are of a price
// or a date: then nothing is hashed at all.
func (w *work) claim(r event.Resource, was, is *held, before, after producers.Facts, who tenant.Tenant) {
	if after.Deal == nil {
		return
	}
	all := after.Claims
	if after.Deal.Gone {
		all = nil
	}
	if was.facts != nil && before.Deal != nil && before.Deal.Gone == after.Deal.Gone && slices.Equal(before.Claims, after.Claims) {
		return
	}
	if is.claims = digest(who.PseudonymKey, all); is.claims == was.claims {
		return
	}
	key := r.Key()
	d := link.Deal{Key: key, Tenant: who.ID, New: was.claims == 0}
	if earlier, ok := w.claims[key]; ok {
		d.New = earlier.New
	}
	a, _ := who.Account(r.Vendor, r.Account)
	d.Claims = link.Claims(who.PseudonymKey, all, a.Settings)
	w.claims[key] = d
}

// digest tells two lists of claims apart, by the tenant's key: it stands in a table. 0 is none.
func digest(tenantKey []byte, claims []producers.Claim) int64 {
	if len(claims) == 0 {
		return 0
	}
	text := make([]byte, 0, digestBytes)
	text = append(text, tenantKey...)
	for _, c := range claims {
		text = append(text, c.Kind...)
		text = append(text, 0)
		text = append(text, c.Value...)
		text = append(text, 0)
	}
	sum := sha256.Sum256(text)
	return int64(max(binary.BigEndian.Uint64(sum[:8]), 1)) //nolint:gosec // G115: a bit pattern, not a quantity
}

// digestBytes is what the claims of a deal mostly take.
const digestBytes = 512

// changes is what the batch writes about links.
func (w *work) changes() link.Changes {
	c := link.Changes{Acted: w.links.acted}
	for _, d := range w.claims {
		c.Deals = append(c.Deals, d)
	}
	for _, one := range w.links.waits {
		c.Waits = append(c.Waits, one)
	}
	return c
}
