package consumers

import (
	"time"

	"conveyance/avro/event"
)

// DealOf returns the deal that an event embeds as its resource stands after the change, and nil
// where it embeds none. DocumentSigned is left out: its deal is another record's than its own.
func DealOf(m event.Message) *event.Deal {
	switch e := m.(type) {
	case *event.DealChanged:
		return &e.Deal
	case *event.TransactionStatusChanged:
		return &e.Deal
	case *event.CommissionChanged:
		return &e.Deal
	}
	return nil
}

// Clients returns the deal's client-side participants, one per contact, in their order.
func Clients(d *event.Deal) []event.Contact {
	seen := map[string]bool{}
	var out []event.Contact
	for _, p := range d.Participants {
		if p.Client && !seen[p.Contact.ContactKey] {
			seen[p.Contact.ContactKey] = true
			out = append(out, p.Contact)
		}
	}
	return out
}

// Date is a day as vendors and people write it, 2006-01-02; empty for nil.
func Date(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.DateOnly)
}
