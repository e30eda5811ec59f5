package warehouse

import (
	"time"

	"conveyance/avro/event"
	"conveyance/consumers"
)

// rows is what a batch comes to: per deal, per contact and record, and per link, its highest revision
// alone.
type rows struct {
	deals      newest[state]
	contacts   newest[contactRow]
	links      newest[linkRow]
	history    []historyRow
	signatures []signatureRow
}

// state is a deal as an event tells it.
type state struct {
	origin *event.Origin
	deal   *event.Deal
}

// newest keeps the item of the highest revision per key, in the order of the keys' first coming.
type newest[T any] struct {
	at        map[string]int
	items     []T
	revisions []int64
}

func (n *newest[T]) put(key string, revision int64, item T) {
	i, seen := n.at[key]
	switch {
	case !seen:
		if n.at == nil {
			n.at = map[string]int{}
		}
		n.at[key] = len(n.items)
		n.items, n.revisions = append(n.items, item), append(n.revisions, revision)
	case revision > n.revisions[i]:
		n.items[i], n.revisions[i] = item, revision
	}
}

func gather(batch []consumers.Placed) *rows {
	r := &rows{}
	for _, p := range batch {
		if d := consumers.DealOf(p.Message); d != nil {
			o := p.Message.(event.Event).Source()
			r.deals.put(d.DealKey, o.Revision, state{o, d})
		}
		switch e := p.Message.(type) {
		case *event.TransactionStatusChanged:
			r.history = append(r.history, newHistory(e))
		case *event.ContactChanged:
			row := newContact(e)
			r.contacts.put(row.ContactKey+" "+row.ResourceKey, row.Revision, row)
		case *event.DocumentSigned:
			r.signatures = append(r.signatures, newSignature(e))
		case *event.ResourceLinked:
			r.links.put(e.Origin.Resource.Key(), e.Origin.Revision, newLink(&e.Origin, &e.DealKey, e.Rung))
		case *event.ResourceUnlinked:
			r.links.put(e.Origin.Resource.Key(), e.Origin.Revision, newLink(&e.Origin, nil, event.LinkRungPerson))
		}
	}
	return r
}

// partRow names a row that belongs to a deal.
type partRow struct {
	DealKey  string `db:"deal_key"`
	Ordinal  int32  `db:"ordinal"`
	Revision int64  `db:"revision"`
}

// partsOf are the rows that belong to deals, by table.
func partsOf(deals []state) map[string][]any {
	out := map[string][]any{}
	add := func(table string, row any) { out[table] = append(out[table], row) }
	for _, s := range deals {
		d := s.deal
		in := func(i int) partRow {
			return partRow{d.DealKey, int32(i + 1), s.origin.Revision} //nolint:gosec // G115: a message holds fewer
		}
		for i, p := range d.Participants {
			add("deal_participant", participantRow{in(i), string(p.Role), p.VendorRole, p.Client, newPerson(p.Contact)})
		}
		for i, a := range d.Agents {
			add("deal_agent", agentRow{in(i), a.AgentKey, string(a.Role), a.Name, a.Email})
		}
		c := d.Commission
		if c == nil {
			continue
		}
		add("deal_commission", newCommission(d.DealKey, s.origin.Revision, c))
		for i, f := range c.Fees {
			add("deal_fee", feeRow{in(i), f.Name, f.Amount.Minor, f.Amount.Currency})
		}
		for i, p := range c.Split {
			amount, currency := minor(p.Amount)
			add("deal_payee", payeeRow{in(i), p.PayeeKey, p.Name, p.Role, p.BasisPoints, amount, currency})
		}
	}
	return out
}

// instant leaves out what Postgres and people have no calendar for: vendors' dates are not
// to be trusted.
func instant(t *time.Time) *time.Time {
	if t == nil || t.Year() < 1 || t.Year() > 9999 {
		return nil
	}
	return t
}

// moment is instant for a column that is never null.
func moment(t time.Time) time.Time {
	if instant(&t) == nil {
		return time.Time{}
	}
	return t
}

func minor(m *event.Money) (*int64, *string) {
	if m == nil {
		return nil, nil
	}
	return &m.Minor, &m.Currency
}
