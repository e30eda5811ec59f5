package skyslope

import (
	"slices"
	"strings"

	"conveyance/avro/event"
)

// commission reads the amounts, nil where the file states none. SkySlope wrote some of them under
// other names in earlier years; the newest name comes first. It is final once the deal is closed.
func (m *mapping) commission(status event.TransactionStatus) *event.Commission {
	const at = "/commission"
	stated := m.sale.One("commission")
	c := &event.Commission{
		Gross:       m.dollars(stated, at, "officeGrossCommissionOnSale", "officeGrossCommission"),
		ListingSide: m.dollars(stated, at, "listingCommissionAmount"),
		BuyerSide:   m.dollars(stated, at, "saleCommissionAmount", "salesCommissionAmount"),
		Referral:    m.dollars(stated, at, "referralAmount"),
		Fees:        m.fees(),
		Split:       m.split(),
		Final:       status == event.TransactionStatusClosed,
	}
	if c.Referral == nil {
		c.Referral = m.dollars(m.sale.One("commissionReferral"), "/commissionReferral", "amount")
	}
	none := c.Gross == nil && c.ListingSide == nil && c.BuyerSide == nil && c.Referral == nil
	if none && len(c.Fees) == 0 && len(c.Split) == 0 {
		return nil
	}
	return c
}

// fees are what is taken before the split.
func (m *mapping) fees() []event.Fee {
	fee := m.dollars(m.sale.One("commission"), "/commission", "transactionCoordinatorFee", "transCoordinatorFee")
	if fee == nil {
		return nil
	}
	return []event.Fee{{Name: "Transaction coordinator", Amount: *fee}}
}

// split is who receives what: the agents' shares, then the lines of the breakdown, in which people
// name the office and others by hand, and often the agents again. A line without share and amount is
// left out: a file names its agent there from the start. An amount of the breakdown may be negative:
// a rebate.
func (m *mapping) split() []event.Payee {
	var out []event.Payee
	for line := range m.sale.Many("commissionSplits") {
		p := event.Payee{
			PayeeKey:    line.First("agentGuid", "userGuid"),
			BasisPoints: line.BasisPoints("percentage"),
			Amount:      m.dollars(line, "/commissionSplits", "amount"),
		}
		if p.BasisPoints == nil && p.Amount == nil {
			continue
		}
		p.Name, p.Role = m.payee(p.PayeeKey)
		out = append(out, p)
	}
	agents := len(out)
	for line := range m.sale.Many("commissionBreakdowns") {
		p := event.Payee{
			Name: line.Text("name"), Role: line.Text("details"), Amount: m.dollars(line, "/commissionBreakdowns", "amount"),
		}
		again := slices.ContainsFunc(out[:agents], func(have event.Payee) bool { return strings.EqualFold(have.Name, p.Name) })
		if p.Amount != nil && (p.Name == "" || !again) {
			out = append(out, p)
		}
	}
	return out
}

// payee is an agent's name, and what they are in the deal.
func (m *mapping) payee(guid string) (name, role string) {
	u := m.users[guid]
	switch {
	case guid == "":
	case guid == m.sale.Text("agentGuid"):
		role = "Agent"
	case slices.Contains(m.sale.Texts("coAgentGuids"), guid):
		role = "Co-agent"
	}
	return join(u.Text("firstName"), u.Text("lastName")), role
}
