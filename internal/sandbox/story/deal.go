package story

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"conveyance/internal/sandbox/world"
)

// deal is one deal while it is made up.
type deal struct {
	t        *teller
	account  world.Account
	guid     string
	dealType string
	agent    world.Agent
	price    int // dollars
	day      time.Time
	closing  time.Time
	buyers   []any
	sellers  []any
	changes  []Change
}

// epoch is when stories play. Their dates do not depend on the clock, so that the same seed gives
// the same truth.
func epoch() time.Time { return time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC) }

func (t *teller) deal(a world.Account) *deal {
	n := t.deals
	t.deals++
	d := &deal{
		t: t, account: a, guid: world.GUID("sale", strconv.FormatInt(t.seed, 10), strconv.Itoa(n)),
		dealType: pick(t, []string{"Purchase", "Purchase / Tenant", "Listing", "Sale"}),
		agent:    pick(t, world.Agents(a.Tenant)),
		price:    1000 * (180 + t.rng.IntN(900)),
		day:      epoch().AddDate(0, 0, t.rng.IntN(300)),
	}
	d.closing = d.day.AddDate(0, 0, 21+t.rng.IntN(40))
	for range 1 + t.rng.IntN(2) {
		d.buyers = append(d.buyers, t.person())
	}
	for range 1 + t.rng.IntN(2) {
		d.sellers = append(d.sellers, t.person())
	}
	return d
}

// buying says whether the brokerage represents the buyers.
func (d *deal) buying() bool { return strings.HasPrefix(d.dealType, "Purchase") }

// meet puts the first client of other on the represented side of d, as the same person.
func (d *deal) meet(other *deal) {
	client := other.sellers[0]
	if other.buying() {
		client = other.buyers[0]
	}
	if d.buying() {
		d.buyers[0] = client
	} else {
		d.sellers[0] = client
	}
}

// base is what a new file holds.
func (d *deal) base() map[string]any {
	t := d.t
	if t.chance(25) {
		d.spoil()
	}
	return map[string]any{
		"agentGuid": d.agent.GUID, "createdByGuid": d.agent.GUID, "officeGuid": pick(t, world.Offices(d.account.Tenant)).GUID,
		"mlsNumber": "MLS" + strconv.Itoa(100000+t.rng.IntN(900000)), "checklistType": "Residential", "dealType": d.dealType,
		"listingPrice": d.amount(d.price + 1000*t.rng.IntN(20)), "salePrice": d.amount(d.price),
		"escrowClosingDate": date(d.closing), "property": t.property(), "buyers": d.buyers, "sellers": d.sellers,
		"otherSideAgentContact": t.professional("Realty"),
	}
}

// amount is a price, now and then as text.
func (d *deal) amount(dollars int) any {
	switch d.t.rng.IntN(10) {
	case 0:
		return strconv.Itoa(dollars) + ".00"
	case 1:
		return strconv.Itoa(dollars)
	default:
		return dollars
	}
}

// commission is a commission with who gets what of it.
func (d *deal) commission() map[string]any {
	percent := 250 + 25*d.t.rng.IntN(3) // hundredths of a percent
	gross := d.price*percent/100 + d.t.rng.IntN(100)
	fee := 35000
	agent := (gross - fee) * 70 / 100
	side, rate := "listingCommissionAmount", "listingCommissionPercent"
	if d.buying() {
		side, rate = "saleCommissionAmount", "saleCommissionPercent"
	}
	return map[string]any{
		"commission": map[string]any{
			"officeGrossCommission": json.Number(money(gross)), side: json.Number(money(gross)), rate: json.Number(money(percent)),
			"referralAmount": 0, "transCoordinatorFee": json.Number(money(fee)),
		},
		"commissionBreakdowns": []any{
			map[string]any{"name": d.agent.First + " " + d.agent.Last, "details": "Agent", "amount": json.Number(money(agent))},
			map[string]any{"name": "Office", "details": "Brokerage", "amount": json.Number(money(gross - fee - agent))},
		},
		"commissionSplits": []any{map[string]any{"agentGuid": d.agent.GUID, "percentage": 70, "amount": json.Number(money(agent))}},
	}
}

func (d *deal) otherAgent() world.Agent {
	agents := slices.DeleteFunc(world.Agents(d.account.Tenant), func(a world.Agent) bool { return a.GUID == d.agent.GUID })
	return pick(d.t, agents)
}

// professionals are the people around a contract.
func (d *deal) professionals() map[string]any {
	return map[string]any{
		"titleContact": d.t.professional("Title"), "escrowContact": d.t.professional("Escrow"), "lenderContact": d.t.professional("Lending"),
	}
}

// spoil makes the participants as bad as people leave them: one twice, one empty, one with a control
// character.
func (d *deal) spoil() {
	side := &d.buyers
	if d.t.chance(50) {
		side = &d.sellers
	}
	switch d.t.rng.IntN(3) {
	case 0:
		*side = append(slices.Clone(*side), (*side)[0])
	case 1:
		*side = append(slices.Clone(*side), blank())
	default:
		first, _ := (*side)[0].(map[string]any)
		spoiled := make(map[string]any, len(first))
		for k, v := range first {
			spoiled[k] = v
		}
		spoiled["notes"] = "call\u0001after six\u001a"
		*side = append([]any{spoiled}, (*side)[1:]...)
	}
}

func (t *teller) property() map[string]any {
	city := pick(t, []string{"Fairmont Bay", "Ashford Mills", "Lindenwood", "Port Calder"})
	unit := ""
	if t.chance(20) {
		unit = strconv.Itoa(1+t.rng.IntN(9)) + pick(t, []string{"A", "B", "C", "D"})
	}
	return map[string]any{
		"streetNumber": strconv.Itoa(1 + t.rng.IntN(9800)), "streetAddress": pick(t, []string{"Larkspur Lane", "Orchard Row", "Mill Pond Road", "Cedar Bluff"}),
		"unit": unit, "city": city, "county": "Sample", "state": pick(t, []string{"IL", "AZ"}), "zip": fmt.Sprintf("000%02d", t.rng.IntN(100)),
	}
}
