package skyslope

import (
	"slices"
	"strings"
	"unicode"

	"conveyance/avro/event"
	"conveyance/internal/vendorjson"
	"conveyance/producers"
)

// The parts of a snapshot.
const (
	partSale   = "sale"
	partAgents = "agents"
)

// mapping is one snapshot being read.
type mapping struct {
	sale  producers.Record
	users map[string]producers.Record // the agents part, by userGuid
	drift []producers.Drift
}

// Map reads a snapshot: pure, and the same for equal parts. A sale that breaks its contract
// (schema/sale.json) is a *producers.ContractError with the path that broke. Amounts that are
// negative or above producers.AmountMinorMax break it too: they must not reach accounting. A status
// or deal type that nobody knows is UNKNOWN and a drift.
func (s *Source) Map(snap event.VendorSnapshot) (producers.Facts, error) {
	if snap.Gone {
		return producers.Facts{}, nil
	}
	if snap.Cipher != nil {
		return producers.Facts{}, &producers.ContractError{Path: "/", Why: "is encrypted"}
	}
	m := mapping{users: map[string]producers.Record{}}
	var err error
	if m.sale, m.drift, err = s.sale.Read(part(snap, partSale)); err != nil {
		return producers.Facts{}, err
	}
	defer m.sale.Free()
	if body := part(snap, partAgents); body != nil {
		agents, drift, err := s.agents.Read(body)
		if err != nil {
			return producers.Facts{}, err
		}
		defer agents.Free()
		m.drift = append(m.drift, drift...)
		for u := range agents.Many("users") {
			m.users[u.Text("userGuid")] = u
		}
	}
	deal := m.deal()
	slices.SortStableFunc(m.drift, func(a, b producers.Drift) int { return strings.Compare(a.Path, b.Path) })
	m.drift = slices.Compact(m.drift)
	return producers.Facts{Deal: deal, Claims: claims(m.sale.Text("saleGuid"), deal), Drift: m.drift}, nil
}

func part(snap event.VendorSnapshot, name string) []byte {
	for _, p := range snap.Parts {
		if p.Name == name {
			return p.Body
		}
	}
	return nil
}

func (m *mapping) deal() *event.Deal {
	sale := m.sale
	d := &event.Deal{
		VendorStatus:       sale.Text("status"),
		DealType:           sale.Text("dealType"),
		Property:           property(sale.One("property")),
		MLSNumber:          sale.Text("mlsNumber"),
		EscrowNumber:       sale.Text("escrowNumber"),
		ListPrice:          price(m.dollars(sale, "", "listingPrice")),
		SalePrice:          price(m.dollars(sale, "", "salePrice")),
		EarnestMoney:       m.dollars(sale.One("earnestMoneyDeposit"), "/earnestMoneyDeposit", "depositAmount"),
		ContractDate:       sale.Date("contractAcceptanceDate"),
		ProjectedCloseDate: sale.Date("escrowClosingDate"),
		CloseDate:          sale.Date("actualClosingDate"),
		CreatedAt:          sale.Time("createdOn"),
		OfficeKey:          sale.Text("officeGuid"),
		Stage:              sale.One("stage").Text("name"),
		Agents:             m.dealAgents(),
	}
	if d.ContractDate == nil {
		d.ContractDate = sale.Date("contractAcceptedDate") // an older name
	}
	d.Name = sale.Text("saleGuid")
	if d.Property != nil && d.Property.Street != "" {
		d.Name = d.Property.Street
	}
	m.status(d)
	d.Representation = m.representation(d.DealType)
	d.Participants = m.participants(d.Representation)
	d.Commission = m.commission(d.Status)
	return d
}

// status reads the vendor's word. Archived says nothing of how the deal ended: the day on which it
// closed does.
func (m *mapping) status(d *event.Deal) {
	switch strings.ToLower(d.VendorStatus) {
	case "pre-contract", "incomplete":
		d.Status = event.TransactionStatusPreContract
	case "pending":
		d.Status = event.TransactionStatusUnderContract
	case "closed":
		d.Status = event.TransactionStatusClosed
	case "canceled/app", "canceled/pend":
		d.Status = event.TransactionStatusCancelled
	case "expired":
		d.Status = event.TransactionStatusExpired
	case "archived":
		d.Archived = true
		d.Status = event.TransactionStatusCancelled
		if d.CloseDate != nil {
			d.Status = event.TransactionStatusClosed
		}
	default:
		d.Status = event.TransactionStatusUnknown
		m.unknownWord("/status", d.VendorStatus)
	}
	d.ListingStatus = listingStatus(d.Status, m.sale.Text("listingGuid") != "")
}

// listingStatus is RESO's StandardStatus of the listing that follows from a deal; a deal before its
// contract says something of a listing only where there is one.
func listingStatus(s event.TransactionStatus, listed bool) *string {
	var word string
	switch s {
	case event.TransactionStatusUnderContract:
		word = "Pending"
	case event.TransactionStatusClosed:
		word = "Closed"
	case event.TransactionStatusCancelled:
		word = "Canceled"
	case event.TransactionStatusExpired:
		word = "Expired"
	case event.TransactionStatusPreContract:
		if !listed {
			return nil
		}
		word = "Active"
	default:
		return nil
	}
	return &word
}

// representation reads whom the brokerage represents from the words of the deal type, for example
// "Purchase / Tenant" (the buyer's side), "Sale / Landlord" (the seller's), "Dual" (both). Words of
// both sides mean both.
func (m *mapping) representation(dealType string) event.Representation {
	if dealType == "" {
		return event.RepresentationUnknown
	}
	buyer, seller := false, false
	for word := range strings.FieldsFuncSeq(strings.ToLower(dealType), func(r rune) bool { return !unicode.IsLetter(r) }) {
		switch word {
		case "purchase", "buyer", "buyers", "buying", "tenant":
			buyer = true
		case "listing", "sale", "seller", "sellers", "selling", "landlord":
			seller = true
		case "both", "dual":
			buyer, seller = true, true
		}
	}
	switch {
	case buyer && seller:
		return event.RepresentationBoth
	case buyer:
		return event.RepresentationBuyer
	case seller:
		return event.RepresentationSeller
	}
	m.unknownWord("/dealType", dealType)
	return event.RepresentationUnknown
}

// unknownWord counts a word of a closed list that we do not know.
func (m *mapping) unknownWord(path, word string) {
	m.drift = append(m.drift, producers.Drift{Path: path, Kind: producers.DriftUnknownValue, What: word})
}

// dollars reads the first amount of keys, and counts one that is a text: the vendor writes numbers.
func (m *mapping) dollars(r producers.Record, path string, keys ...string) *event.Money {
	for _, key := range keys {
		if r.Get(key).Kind() == vendorjson.String && r.Text(key) != "" {
			m.drift = append(m.drift, producers.Drift{Path: path + "/" + key, Kind: producers.DriftRetyped})
		}
	}
	return r.Dollars(keys...)
}

// price leaves a price of nothing out: it is how the vendor writes that none was entered.
func price(p *event.Money) *event.Money {
	if p != nil && p.Minor == 0 {
		return nil
	}
	return p
}

func property(p producers.Record) *event.Address {
	a := event.Address{
		Street:          join(p.Text("streetNumber"), p.Text("direction"), p.Text("streetAddress")),
		Unit:            p.Text("unit"),
		City:            p.Text("city"),
		StateOrProvince: state(p.Text("state")),
		PostalCode:      p.Text("zip"),
		County:          p.Text("county"),
	}
	if a == (event.Address{}) {
		return nil
	}
	return &a
}

// state is upper case where it is an abbreviation.
func state(s string) string {
	if len(s) == 2 {
		return strings.ToUpper(s)
	}
	return s
}

// join puts words that are not empty together, with one space between any two.
func join(words ...string) string {
	text := ""
	for _, w := range words {
		switch {
		case w == "":
		case text == "":
			text = w
		default:
			text += " " + w
		}
	}
	if strings.Contains(text, "  ") {
		text = strings.Join(strings.Fields(text), " ")
	}
	return text
}

// claims are what ties other vendors' records to this deal.
func claims(guid string, d *event.Deal) []producers.Claim {
	out := []producers.Claim{{Kind: producers.ClaimDealID, Value: strings.ToLower(guid)}}
	add := func(kind, value string) {
		c := producers.Claim{Kind: kind, Value: value}
		if value != "" && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	add(producers.ClaimMLS, producers.PlainClaim(d.MLSNumber))
	add(producers.ClaimEscrow, producers.PlainClaim(d.EscrowNumber))
	for _, p := range d.Participants {
		if !principal(p.Role) {
			continue
		}
		for _, e := range p.Contact.Emails {
			add(producers.ClaimEmail, e)
		}
	}
	if a := d.Property; a != nil && a.Street != "" { // as people write it with and without the city
		add(producers.ClaimAddress, producers.AddressClaim(a.Street, a.Unit, a.PostalCode))
		add(producers.ClaimAddress, producers.AddressClaim(a.Street, a.Unit, a.City, a.StateOrProvince, a.PostalCode))
	}
	return out
}

// principal says whether a role is one of those whom the deal is about. Officers, attorneys and
// agents are in many deals, so that their addresses tie nothing.
func principal(r event.ParticipantRole) bool {
	switch r {
	case event.ParticipantRoleBuyer, event.ParticipantRoleSeller, event.ParticipantRoleTenant, event.ParticipantRoleLandlord:
		return true
	default:
		return false
	}
}
