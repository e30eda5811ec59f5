package translate

import (
	"crypto/hmac"
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
	mac := hmac.New(sha256.New, tenantKey)
	for _, c := range claims {
		mac.Write([]byte(c.Kind + "\x00" + c.Value + "\x00"))
	}
	n := int64(binary.BigEndian.Uint64(mac.Sum(nil))) //nolint:gosec // G115: a bit pattern, not a quantity
	if n == 0 {
		return 1
	}
	return n
}

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
