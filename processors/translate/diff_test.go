package translate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/producers"
)

func deal(change func(*event.Deal)) producers.Facts {
	d := &event.Deal{
		DealKey: "k", Name: "1420 Larkspur Lane", Status: under, VendorStatus: "Pending",
		SalePrice: &event.Money{Currency: "USD", Minor: 1},
		Participants: []event.Participant{
			{Role: event.ParticipantRoleBuyer, Client: true, Contact: event.Contact{ContactKey: "mira", FullName: "Mira Holt", Emails: []string{"mira@example.com"}}},
			{Role: event.ParticipantRoleSeller, Contact: event.Contact{ContactKey: "otis", FullName: "Otis Marlowe"}},
		},
		Agents: []event.Agent{{AgentKey: "a", Role: event.AgentRolePrimary, Email: "ada@example.com"}},
	}
	if change != nil {
		change(d)
	}
	return producers.Facts{Deal: d}
}

func names(events []event.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, string(e.Type())+" "+e.Source().Subject)
	}
	return out
}

func TestNothingChangedIsNoEvent(t *testing.T) {
	t.Parallel()
	require.Empty(t, Diff(deal(nil), deal(nil)))
	require.Empty(t, Diff(producers.Facts{}, producers.Facts{}))
}

func TestFirstSightTellsAllThatIsSet(t *testing.T) {
	t.Parallel()
	events := Diff(producers.Facts{}, deal(func(d *event.Deal) { d.Commission = &event.Commission{Gross: &event.Money{Minor: 5}} }))
	require.Equal(t, []string{
		"ContactChanged mira", "ContactChanged otis", "DealChanged ", "TransactionStatusChanged ", "CommissionChanged ",
	}, names(events))
	require.Equal(t, []string{"agents", "commission", "name", "participants", "sale_price", "status", "vendor_status"},
		events[2].(*event.DealChanged).Changed)
	require.Equal(t, []string{"agent_email", "client", "emails", "full_name", "roles"}, events[0].(*event.ContactChanged).Changed)
	require.Nil(t, events[3].(*event.TransactionStatusChanged).Previous)
}

func TestEachKindOfChangeHasItsEvents(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		change  func(*event.Deal)
		events  []string
		changed []string
	}{
		"price": {func(d *event.Deal) { d.SalePrice = &event.Money{Currency: "USD", Minor: 2} }, []string{"DealChanged "}, []string{"sale_price"}},
		"date":  {func(d *event.Deal) { d.ProjectedCloseDate = &day }, []string{"DealChanged "}, []string{"projected_close_date"}},
		"status": {
			func(d *event.Deal) { d.Status, d.VendorStatus = closed, "Closed" },
			[]string{"DealChanged ", "TransactionStatusChanged "},
			[]string{"status", "vendor_status"},
		},
		"the vendor's word alone": {
			func(d *event.Deal) { d.VendorStatus = "In escrow" },
			[]string{"DealChanged ", "TransactionStatusChanged "},
			[]string{"vendor_status"},
		},
		"commission": {
			func(d *event.Deal) { d.Commission = &event.Commission{Final: true} },
			[]string{"DealChanged ", "CommissionChanged "},
			[]string{"commission"},
		},
		"agent": {
			func(d *event.Deal) { d.Agents[0].Email = "bruno@example.com" },
			[]string{"ContactChanged mira", "ContactChanged otis", "DealChanged "},
			[]string{"agents"},
		},
		"participant": {
			func(d *event.Deal) { d.Participants[0].Contact.Phones = []string{"+13125550190"} },
			[]string{"ContactChanged mira", "DealChanged "},
			[]string{"participants"},
		},
		"participant gone": {
			func(d *event.Deal) { d.Participants = d.Participants[:1] },
			[]string{"ContactChanged otis", "DealChanged "},
			[]string{"participants"},
		},
		"order of participants": {
			func(d *event.Deal) { d.Participants[0], d.Participants[1] = d.Participants[1], d.Participants[0] },
			[]string{"DealChanged "},
			[]string{"participants"},
		},
		"gone": {
			func(d *event.Deal) { d.Gone = true },
			[]string{"ContactChanged mira", "ContactChanged otis", "DealChanged "},
			[]string{"gone"},
		},
	} {
		events := Diff(deal(nil), deal(tt.change))
		require.Equal(t, tt.events, names(events), name)
		for _, e := range events {
			if d, ok := e.(*event.DealChanged); ok {
				require.Equal(t, tt.changed, d.Changed, name)
			}
		}
	}
}

func TestACommissionThatIsTakenBackIsEmpty(t *testing.T) {
	t.Parallel()
	events := Diff(deal(func(d *event.Deal) { d.Commission = &event.Commission{Gross: &event.Money{Minor: 5}} }), deal(nil))
	require.Equal(t, event.Commission{}, events[1].(*event.CommissionChanged).Commission)
}

func TestOnePersonInTwoRolesIsOneContact(t *testing.T) {
	t.Parallel()
	both := deal(func(d *event.Deal) {
		d.Participants = append(d.Participants, event.Participant{
			Role: event.ParticipantRoleLoanOfficer, Contact: event.Contact{ContactKey: "mira", Emails: []string{"mira@example.com", "m@example.org"}, Company: "Holt Lending"},
		})
	})
	events := Diff(deal(nil), both)
	require.Equal(t, []string{"ContactChanged mira", "DealChanged "}, names(events))
	e := events[0].(*event.ContactChanged)
	require.Equal(t, []event.ParticipantRole{event.ParticipantRoleBuyer, event.ParticipantRoleLoanOfficer}, e.Roles)
	require.Equal(t, []string{"company", "emails", "roles"}, e.Changed)
	require.Equal(t, "Mira Holt", e.Contact.FullName)
	require.True(t, e.Client)
	require.Equal(t, []string{"mira@example.com"}, both.Deal.Participants[0].Contact.Emails, "the deal stays as it is")
}

func TestEachNewSignatureIsOneFact(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	sign := func(doc, who string) producers.Signature {
		return producers.Signature{DocumentID: doc, EnvelopeID: "e", Signer: event.Contact{ContactKey: who}, SignedAt: at}
	}
	before := producers.Facts{Signatures: []producers.Signature{sign("1", "mira")}}
	after := producers.Facts{Signatures: []producers.Signature{sign("1", "mira"), sign("1", "otis"), sign("2", "mira"), sign("2", "mira")}}
	events := Diff(before, after)
	require.Equal(t, []string{"DocumentSigned e/1/otis", "DocumentSigned e/2/mira"}, names(events))
	require.Nil(t, events[0].(*event.DocumentSigned).DealKey)
	require.Empty(t, Diff(after, before), "a fact is never taken back")
}

func TestContactsWithoutAddressAreNamedByTheirPlace(t *testing.T) {
	t.Parallel()
	f := producers.Facts{Deal: &event.Deal{
		Participants: []event.Participant{
			{Role: event.ParticipantRoleBuyer, Contact: event.Contact{FullName: "A"}},
			{Role: event.ParticipantRoleBuyer, Contact: event.Contact{FullName: "B"}},
			{Role: event.ParticipantRoleSeller, Contact: event.Contact{FullName: "A"}},
			{Role: event.ParticipantRoleSeller, Contact: event.Contact{FullName: "A", SourceKey: "0"}},
			{Role: event.ParticipantRoleSeller, Contact: event.Contact{FullName: "A", Emails: []string{"a@example.com"}}},
		},
		Commission: &event.Commission{Split: []event.Payee{{Name: "Office"}, {PayeeKey: "a"}}},
	}}
	stamp(&f, "resource", []byte("key"), nil)
	keys := map[string]bool{}
	for _, p := range f.Deal.Participants {
		require.Len(t, p.Contact.ContactKey, 22)
		keys[p.Contact.ContactKey] = true
	}
	require.Len(t, keys, 5)
	require.Equal(t, "a", f.Deal.Commission.Split[1].PayeeKey)
	require.Equal(t, event.Pseudonym([]byte("key"), "payee", "office"), f.Deal.Commission.Split[0].PayeeKey)
}
