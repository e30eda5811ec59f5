package translate

import (
	"slices"
	"time"

	"conveyance/avro/event"
)

// field is one field of a record of the contract: its name there, and whether two values have it
// alike. Tables instead of reflection, since every snapshot passes them; a test holds them to the
// structs, so that no field is forgotten. What identifies a record is no field.
type field[T any] struct {
	name string
	same func(a, b *T) bool
}

// changedFields names the fields in which two values differ, in the order of the table: sorted.
func changedFields[T any](fields []field[T], before, after *T) []string {
	var names []string
	for i := range fields {
		if !fields[i].same(before, after) {
			names = append(names, fields[i].name)
		}
	}
	return names
}

func dealFields() []field[event.Deal] { return dealTable[:] }

func contactFields() []field[event.Contact] { return contactTable[:] }

// Both tables are never written to.
var (
	dealTable = [...]field[event.Deal]{
		{"agents", func(a, b *event.Deal) bool { return slices.Equal(a.Agents, b.Agents) }},
		{"archived", func(a, b *event.Deal) bool { return a.Archived == b.Archived }},
		{"close_date", func(a, b *event.Deal) bool { return sameTime(a.CloseDate, b.CloseDate) }},
		{"commission", func(a, b *event.Deal) bool { return sameCommission(a.Commission, b.Commission) }},
		{"contract_date", func(a, b *event.Deal) bool { return sameTime(a.ContractDate, b.ContractDate) }},
		{"created_at", func(a, b *event.Deal) bool { return sameTime(a.CreatedAt, b.CreatedAt) }},
		{"deal_type", func(a, b *event.Deal) bool { return a.DealType == b.DealType }},
		{"earnest_money", func(a, b *event.Deal) bool { return same(a.EarnestMoney, b.EarnestMoney) }},
		{"escrow_number", func(a, b *event.Deal) bool { return a.EscrowNumber == b.EscrowNumber }},
		{"expiration_date", func(a, b *event.Deal) bool { return sameTime(a.ExpirationDate, b.ExpirationDate) }},
		{"gone", func(a, b *event.Deal) bool { return a.Gone == b.Gone }},
		{"list_price", func(a, b *event.Deal) bool { return same(a.ListPrice, b.ListPrice) }},
		{"listing_date", func(a, b *event.Deal) bool { return sameTime(a.ListingDate, b.ListingDate) }},
		{"listing_status", func(a, b *event.Deal) bool { return same(a.ListingStatus, b.ListingStatus) }},
		{"mls_number", func(a, b *event.Deal) bool { return a.MLSNumber == b.MLSNumber }},
		{"name", func(a, b *event.Deal) bool { return a.Name == b.Name }},
		{"office_key", func(a, b *event.Deal) bool { return a.OfficeKey == b.OfficeKey }},
		{"participants", func(a, b *event.Deal) bool {
			return slices.EqualFunc(a.Participants, b.Participants, sameParticipant)
		}},
		{"projected_close_date", func(a, b *event.Deal) bool {
			return sameTime(a.ProjectedCloseDate, b.ProjectedCloseDate)
		}},
		{"property", func(a, b *event.Deal) bool { return same(a.Property, b.Property) }},
		{"representation", func(a, b *event.Deal) bool { return a.Representation == b.Representation }},
		{"sale_price", func(a, b *event.Deal) bool { return same(a.SalePrice, b.SalePrice) }},
		{"stage", func(a, b *event.Deal) bool { return a.Stage == b.Stage }},
		{"status", func(a, b *event.Deal) bool { return a.Status == b.Status }},
		{"vendor_status", func(a, b *event.Deal) bool { return a.VendorStatus == b.VendorStatus }},
	}
	contactTable = [...]field[event.Contact]{
		{"address", func(a, b *event.Contact) bool { return same(a.Address, b.Address) }},
		{"company", func(a, b *event.Contact) bool { return a.Company == b.Company }},
		{"emails", func(a, b *event.Contact) bool { return slices.Equal(a.Emails, b.Emails) }},
		{"first_name", func(a, b *event.Contact) bool { return a.FirstName == b.FirstName }},
		{"full_name", func(a, b *event.Contact) bool { return a.FullName == b.FullName }},
		{"last_name", func(a, b *event.Contact) bool { return a.LastName == b.LastName }},
		{"phones", func(a, b *event.Contact) bool { return slices.Equal(a.Phones, b.Phones) }},
		{"source_key", func(a, b *event.Contact) bool { return a.SourceKey == b.SourceKey }},
	}
)

// same compares what two pointers point to; nil is like nil alone.
func same[T comparable](a, b *T) bool { return a == b || (a != nil && b != nil && *a == *b) }

func sameTime(a, b *time.Time) bool { return a == b || (a != nil && b != nil && a.Equal(*b)) }

func sameParticipant(a, b event.Participant) bool {
	return a.Role == b.Role && a.VendorRole == b.VendorRole && a.Client == b.Client &&
		sameContact(&a.Contact, &b.Contact)
}

// sameContact is the table in one expression, with the key: the table is for naming what differs.
func sameContact(a, b *event.Contact) bool {
	return a.ContactKey == b.ContactKey && a.SourceKey == b.SourceKey &&
		a.FirstName == b.FirstName && a.LastName == b.LastName && a.FullName == b.FullName && a.Company == b.Company &&
		slices.Equal(a.Emails, b.Emails) && slices.Equal(a.Phones, b.Phones) && same(a.Address, b.Address)
}

func sameCommission(a, b *event.Commission) bool {
	if a == nil || b == nil {
		return a == b
	}
	return same(a.Gross, b.Gross) && same(a.ListingSide, b.ListingSide) && same(a.BuyerSide, b.BuyerSide) &&
		same(a.Referral, b.Referral) && slices.Equal(a.Fees, b.Fees) &&
		slices.EqualFunc(a.Split, b.Split, samePayee) && a.Final == b.Final
}

func samePayee(a, b event.Payee) bool {
	return a.PayeeKey == b.PayeeKey && a.Name == b.Name && a.Role == b.Role &&
		same(a.BasisPoints, b.BasisPoints) && same(a.Amount, b.Amount)
}
