package story

import (
	"fmt"
	"maps"
	"time"
)

// The vendor's words for a sale's status, with the ids that this simulation gives them.
const (
	incomplete  = "Incomplete"
	preContract = "Pre-Contract"
	pending     = "Pending"
	closed      = "Closed"
	lostEarly   = "Canceled/App"
	lostLate    = "Canceled/Pend"
	expired     = "Expired"
	archived    = "Archived"
	unknown     = "Attorney Review" // in no list that was ever published
)

func statusID(status string) int {
	return map[string]int{
		incomplete: 59, preContract: 60, pending: 61, closed: 62, lostEarly: 63, lostLate: 64, expired: 65, archived: 66, unknown: 99,
	}[status]
}

// life is the deal's changes in order, the first of which makes it.
func (d *deal) life() []Change {
	first := d.t.weighted(map[string]int{incomplete: 8, preContract: 77, pending: 15})
	begin := d.base()
	maps.Copy(begin, d.status(first))
	d.add(begin)
	if first == incomplete {
		d.add(d.status(preContract))
	}
	if first != pending {
		d.stir(2)
	}
	switch outcome := d.t.rng.IntN(100); {
	case outcome < 70:
		d.contract(first)
		d.close()
		d.maybeArchive(10)
	case outcome < 80:
		d.contract(first)
		d.add(d.status(lostLate))
		d.maybeArchive(20)
	case outcome < 85:
		d.add(d.status(lostEarly))
	case outcome < 90:
		d.add(d.status(expired))
	case outcome < 97: // opened again
		d.contract(first)
		d.add(d.status(lostLate))
		d.add(d.status(pending))
		d.stir(1)
		d.close()
	default:
		d.contract(first)
		d.add(d.status(unknown))
		d.add(d.status(pending))
		d.close()
	}
	return d.changes
}

// weighted draws a word by weight; words are looked at in a fixed order.
func (t *teller) weighted(weights map[string]int) string {
	n := t.rng.IntN(100)
	for _, word := range []string{incomplete, preContract, pending} {
		if n -= weights[word]; n < 0 {
			return word
		}
	}
	return pending
}

func (d *deal) add(patch map[string]any) {
	d.changes = append(d.changes, Change{Vendor: "skyslope", Kind: "sales", Tenant: d.account.Tenant, Account: d.account.Name, GUID: d.guid, Patch: patch})
}

// status is what a change of status writes, with the dates that go with it.
func (d *deal) status(s string) map[string]any {
	patch := map[string]any{"status": s, "statusId": statusID(s)}
	switch s {
	case pending:
		patch["contractAcceptanceDate"] = date(d.day)
		patch["escrowNumber"] = "ESC-" + d.guid[:6]
		patch["stage"] = map[string]any{"id": 2, "name": "In Escrow"}
	case closed:
		patch["actualClosingDate"] = date(d.closing)
		patch["stage"] = map[string]any{"id": 3, "name": "Done"}
	}
	return patch
}

// contract brings the deal under contract, unless it began there, and lets things happen.
func (d *deal) contract(first string) {
	if first != pending {
		d.add(d.status(pending))
	}
	d.stir(3)
}

// close closes the deal with its final commission.
func (d *deal) close() {
	patch := d.status(closed)
	maps.Copy(patch, d.commission())
	d.add(patch)
}

func (d *deal) maybeArchive(percent int) {
	if d.t.chance(percent) {
		d.add(d.status(archived))
	}
}

// stir changes up to most things other than the status.
func (d *deal) stir(most int) {
	for range d.t.rng.IntN(most + 1) {
		switch d.t.rng.IntN(7) {
		case 0, 1:
			d.price += 1000 * (d.t.rng.IntN(21) - 10)
			d.add(map[string]any{"salePrice": d.amount(d.price)})
		case 2:
			d.closing = d.closing.AddDate(0, 0, 1+d.t.rng.IntN(20))
			d.add(map[string]any{"escrowClosingDate": date(d.closing)})
		case 3:
			d.add(d.commission())
		case 4:
			d.add(map[string]any{"coAgentGuids": []any{d.otherAgent().GUID}})
		case 5:
			d.add(d.professionals())
		default:
			d.spoil()
			d.add(map[string]any{"buyers": d.buyers, "sellers": d.sellers})
		}
	}
}

func date(day time.Time) string { return day.Format("2006-01-02T15:04:05") }

// money writes cents as an exact decimal.
func money(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
