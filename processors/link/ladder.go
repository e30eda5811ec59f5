package link

import (
	"slices"

	"conveyance/avro/event"
	"conveyance/producers"
)

// Found are the deals of one tenant that share a claim with a record, each with all of its claims.
type Found struct {
	Deals map[string][]Claim // by key
	// Common are the kinds of which the record has a claim that more deals share than are looked at:
	// those deals are not all here, so that nothing can be said of exactly one.
	Common map[string]bool
}

// Ruling is what the ladder decided: the deal, the rung, and the claims that both make.
type Ruling struct {
	Deal     string
	Rung     event.LinkRung
	Evidence []Claim
}

// A rung holds for a record that has the claims it asks for, and for a deal that shares them.
type rung struct {
	name  event.LinkRung
	kinds []string
	holds func(n map[string]int) bool // of how many claims of each kind
}

// rungs is the ladder, from the top:
//
//	1  deal_id            the field that names the deal
//	2  mls or escrow_no   a number that names it
//	3  2 × email          two people of it
//	4  email and address  one of them, and the place
var rungs = [...]rung{
	{
		event.LinkRungDealField,
		[]string{producers.ClaimDealID},
		func(n map[string]int) bool { return n[producers.ClaimDealID] > 0 },
	},
	{
		event.LinkRungMLSOrEscrow,
		[]string{producers.ClaimMLS, producers.ClaimEscrow},
		func(n map[string]int) bool { return n[producers.ClaimMLS]+n[producers.ClaimEscrow] > 0 },
	},
	{
		event.LinkRungTwoEmails,
		[]string{producers.ClaimEmail},
		func(n map[string]int) bool { return n[producers.ClaimEmail] > 1 },
	},
	{
		event.LinkRungEmailAndAddress,
		[]string{producers.ClaimEmail, producers.ClaimAddress},
		func(n map[string]int) bool { return n[producers.ClaimEmail] > 0 && n[producers.ClaimAddress] > 0 },
	},
}

// Climb decides which deal a record belongs to; false where the evidence does not say so. It is pure.
//
// The first rung for which exactly one deal holds decides. A rung for which the record has the claims
// and no deal holds ends the climb: the deal may still come, and a lower rung would take another's.
// One that holds for several hands them down, and no other deal. A deal that contradicts the record
// is none: both have a number or an address, and not the same.
func Climb(record []Claim, found Found) (Ruling, bool) {
	has := count(record)
	var deals []string
	for key, claims := range found.Deals {
		if !contradicts(record, claims) {
			deals = append(deals, key)
		}
	}
	for _, r := range rungs {
		if !r.holds(has) {
			continue
		}
		if slices.ContainsFunc(r.kinds, func(k string) bool { return found.Common[k] }) {
			return Ruling{}, false
		}
		deals = slices.DeleteFunc(deals, func(key string) bool { return !r.holds(count(shared(record, found.Deals[key]))) })
		switch len(deals) {
		case 0:
			return Ruling{}, false
		case 1:
			return Ruling{deals[0], r.name, shared(record, found.Deals[deals[0]])}, true
		}
	}
	return Ruling{}, false
}

// contradicts says whether both make claims of one of these kinds, and share none.
func contradicts(record, deal []Claim) bool {
	a, b, both := count(record), count(deal), count(shared(record, deal))
	for _, kind := range []string{producers.ClaimMLS, producers.ClaimEscrow, producers.ClaimAddress} {
		if a[kind] > 0 && b[kind] > 0 && both[kind] == 0 {
			return true
		}
	}
	return false
}

// shared are the claims of record that deal makes, too.
func shared(record, deal []Claim) []Claim {
	var out []Claim
	for _, c := range record {
		if slices.Contains(deal, c) {
			out = append(out, c)
		}
	}
	return out
}

func count(claims []Claim) map[string]int {
	n := map[string]int{}
	for _, c := range claims {
		n[c.Kind]++
	}
	return n
}
