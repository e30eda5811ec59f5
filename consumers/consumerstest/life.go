package consumerstest

import (
	"fmt"
	"time"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/consumers"
	"conveyance/internal/tenant"
)

// Start is when the lives begin.
var Start = time.Date(2026, 3, 2, 15, 0, 0, 0, time.UTC)

// Tenant is the brokerage of the lives, with an account main at a vendor and an adapter for it.
func Tenant(vendor, baseURL, settings string) tenant.Tenant {
	key := []byte("a pseudonym key of thirty-two by")
	return tenant.Tenant{
		ID: "lakeshore", Name: "Lakeshore Realty", PseudonymKey: key, TimeZone: "America/Chicago",
		Accounts: []tenant.Account{{
			Tenant: "lakeshore", Vendor: vendor, Name: "main", ExternalID: "58120", BaseURL: baseURL,
			Credential: tenant.Credential{Fields: map[string]string{
				"api_key": "fka_lakeshore", "x_system": "Conveyance", "x_system_key": "key-of-the-system",
			}},
		}},
		Adapters: map[string]tenant.Adapter{vendor: {Account: "main", Settings: []byte(settings), EffectsFrom: Start}},
	}
}

// Deal is one deal's life in the making: change it, then call Tell.
type Deal struct {
	event.Deal
	tenant   tenant.Tenant
	revision int64
	before   *event.Deal
	people   map[string]event.Contact
}

// NewDeal returns a purchase with one buyer, who is the client, and one seller, told by nobody yet.
func NewDeal(t tenant.Tenant, id string) *Deal {
	made := Start.Add(time.Hour)
	d := &Deal{tenant: t, people: map[string]event.Contact{}}
	r := d.resource(id)
	d.Deal = event.Deal{
		DealKey: r.Key(), Name: id + " Harbor Lane", Status: event.TransactionStatusPreContract, VendorStatus: "Pre-Contract",
		Representation: event.RepresentationBuyer, DealType: "Purchase", MLSNumber: "MLS" + id, OfficeKey: "office-1",
		Property:  &event.Address{Street: id + " Harbor Lane", City: "Chicago", StateOrProvince: "IL", PostalCode: "60601"},
		ListPrice: USD(525_000), CreatedAt: &made,
		Agents: []event.Agent{{
			AgentKey: "agent-1", Role: event.AgentRolePrimary, Name: "Ada Quill", Email: "ada.quill@lakeshore.example.com",
		}},
	}
	d.Participants = []event.Participant{
		d.Person(event.ParticipantRoleBuyer, true, "Nora"+id, "nora"+id+"@example.com", "+1312555010"+id[:1]),
		d.Person(event.ParticipantRoleSeller, false, "Sam"+id, "sam"+id+"@example.com", ""),
	}
	return d
}

// Person makes a participant with its contact key.
func (d *Deal) Person(role event.ParticipantRole, client bool, first, email, phone string) event.Participant {
	c := event.Contact{
		FirstName: first, LastName: "Weller", FullName: first + " Weller", Emails: []string{}, Phones: []string{},
	}
	if email != "" {
		c.Emails = append(c.Emails, email)
	}
	if phone != "" {
		c.Phones = append(c.Phones, phone)
	}
	c.ContactKey = event.ContactKey(d.tenant.PseudonymKey, c, d.DealKey+first)
	return event.Participant{Role: role, VendorRole: string(role), Client: client, Contact: c}
}

// USD is an amount in whole dollars.
func USD(dollars int64) *event.Money { return &event.Money{Currency: "USD", Minor: dollars * 100} }

// Day is a day of 2026.
func Day(month time.Month, day int) *time.Time {
	t := time.Date(2026, month, day, 0, 0, 0, 0, time.UTC)
	return &t
}

func (d *Deal) resource(id string) event.Resource {
	return event.Resource{Tenant: d.tenant.ID, Vendor: "skyslope", Account: "main", Kind: "sale", ID: id}
}

// Tell returns the events of the deal's next revision: its people first, then the deal.
func (d *Deal) Tell() []event.Event {
	d.revision++
	var out []event.Event
	for _, p := range d.Participants {
		c := p.Contact
		if old, ok := d.people[c.ContactKey]; ok && fmt.Sprint(old) == fmt.Sprint(c) {
			continue
		}
		d.people[c.ContactKey] = c
		key := d.DealKey
		out = append(out, &event.ContactChanged{
			Contact: c, DealKey: &key, Client: p.Client, Roles: []event.ParticipantRole{p.Role},
			AgentEmail: d.Agents[0].Email, Changed: []string{"emails"},
		})
	}
	now := d.Deal
	now.Participants = append([]event.Participant(nil), d.Participants...)
	out = append(out, &event.DealChanged{Deal: now, Changed: []string{"status"}})
	if d.before == nil || d.before.Status != now.Status {
		e := &event.TransactionStatusChanged{Deal: now}
		if d.before != nil {
			e.Previous, e.PreviousVendorStatus = &d.before.Status, &d.before.VendorStatus
		}
		out = append(out, e)
	}
	if now.Commission != nil {
		out = append(out, &event.CommissionChanged{
			Deal: now, Commission: *now.Commission, Revision: d.revision, Final: now.Commission.Final,
		})
	}
	for _, e := range out {
		d.sign(e)
	}
	d.before = &now
	return out
}

func (d *Deal) sign(e event.Event) {
	r, err := event.ParseKey(d.DealKey)
	if err != nil {
		panic(err) // NewDeal made it
	}
	o := e.Source()
	*o = event.Origin{
		Resource: r, Revision: d.revision, FirstSight: d.revision == 1,
		ReadAt: Start.Add(2*time.Hour + time.Duration(d.revision)*time.Minute),
	}
	changed := o.ReadAt.Add(-time.Minute)
	o.ChangedAt = &changed
	if c, ok := e.(*event.ContactChanged); ok {
		o.Subject = c.Contact.ContactKey
	}
	o.EventID = event.ID(o.ReadAt, r, o.Revision, e.Type(), o.Subject).String()
}

// Life is the events of n deals, each from its first sight to its closing, with a price that
// changes, a participant who leaves and a commission; the deals take turns.
func Life(t tenant.Tenant, n int) []event.Event {
	var deals []*Deal
	for i := range n {
		deals = append(deals, NewDeal(t, fmt.Sprintf("%d00", i+1)))
	}
	steps := []func(*Deal){
		func(*Deal) {},
		func(d *Deal) {
			d.Status, d.VendorStatus, d.SalePrice = event.TransactionStatusUnderContract, "Pending", USD(512_000)
			d.ContractDate, d.ProjectedCloseDate = Day(3, 5), Day(4, 10)
		},
		func(d *Deal) {
			d.SalePrice, d.Participants = USD(508_500), d.Participants[:1]
			d.Participants[0].Contact.Phones = append(d.Participants[0].Contact.Phones, "+13125550199")
		},
		func(d *Deal) {
			d.Status, d.VendorStatus, d.CloseDate = event.TransactionStatusClosed, "Closed", Day(4, 9)
			half := int32(5000)
			d.Commission = &event.Commission{
				Gross: USD(15_255), BuyerSide: USD(15_255), Final: true,
				Fees: []event.Fee{{Name: "Coordinator", Amount: *USD(395)}},
				Split: []event.Payee{{
					PayeeKey: "agent-1", Name: "Ada Quill", Role: "Buyer Agent", BasisPoints: &half, Amount: USD(7_430),
				}},
			}
		},
	}
	var out []event.Event
	for _, step := range steps {
		for _, d := range deals {
			step(d)
			out = append(out, d.Tell()...)
		}
	}
	return out
}

// Place puts events onto the topics that carry them, in their order, soon after they were read.
func Place(events []event.Event) []consumers.Placed {
	next := map[string]int64{}
	var out []consumers.Placed
	for _, e := range events {
		name := topic.Deals
		if e.Type() == event.TypeContactChanged {
			name = topic.Contacts
		}
		at := e.Source().ReadAt.Add(40 * time.Millisecond)
		out = append(out, consumers.Placed{Message: e, Time: at, Topic: name, Offset: next[name]})
		next[name]++
	}
	return out
}

// Signed returns the event of a participant's signature of a document in an envelope that is linked
// to the deal; link is the number of the link in force, from 1.
func (d *Deal) Signed(envelope, document string, who event.Participant, link int) *event.DocumentSigned {
	now, key := d.Deal, d.DealKey
	now.Participants = append([]event.Participant(nil), d.Participants...)
	r := event.Resource{Tenant: d.tenant.ID, Vendor: "docusign", Account: "main", Kind: "envelope", ID: envelope}
	e := &event.DocumentSigned{
		DealKey: &key, Deal: &now, DocumentID: document, DocumentName: "Purchase agreement.pdf", EnvelopeID: envelope,
		Signer: who.Contact, SignerRole: "signer", SignedAt: Start.Add(48 * time.Hour), EnvelopeComplete: true,
	}
	subject := envelope + "/" + document + "/" + who.Contact.ContactKey
	if link > 1 {
		subject += fmt.Sprintf("#%d", link)
	}
	at := Start.Add(49 * time.Hour)
	e.Origin = event.Origin{
		EventID:  event.ID(at, r, 1, e.Type(), subject).String(),
		Resource: r, Revision: 1, Subject: subject, ReadAt: at, ChangedAt: &e.SignedAt,
	}
	return e
}
