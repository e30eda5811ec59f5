package warehouse

import (
	"time"

	"conveyance/avro/event"
)

// The rows of each table; tags are column names.

type dealRow struct {
	DealKey              string     `db:"deal_key"`
	Tenant               string     `db:"tenant"`
	Vendor               string     `db:"vendor"`
	Account              string     `db:"account"`
	SourceID             string     `db:"source_id"`
	Revision             int64      `db:"revision"`
	ReadAt               time.Time  `db:"read_at"`
	ChangedAt            *time.Time `db:"changed_at"`
	CreatedAt            *time.Time `db:"created_at"`
	Name                 string     `db:"name"`
	Status               string     `db:"status"`
	VendorStatus         string     `db:"vendor_status"`
	StandardStatus       *string    `db:"standard_status"`
	Stage                string     `db:"stage"`
	Archived             bool       `db:"archived"`
	Gone                 bool       `db:"gone"`
	Representation       string     `db:"representation"`
	DealType             string     `db:"deal_type"`
	ListingID            string     `db:"listing_id"`
	EscrowNumber         string     `db:"escrow_number"`
	ListPriceMinor       *int64     `db:"list_price_minor"`
	ListPriceCurrency    *string    `db:"list_price_currency"`
	SalePriceMinor       *int64     `db:"sale_price_minor"`
	SalePriceCurrency    *string    `db:"sale_price_currency"`
	EarnestMoneyMinor    *int64     `db:"earnest_money_minor"`
	EarnestMoneyCurrency *string    `db:"earnest_money_currency"`
	PurchaseContractDate *time.Time `db:"purchase_contract_date,date"`
	ListingContractDate  *time.Time `db:"listing_contract_date,date"`
	ExpirationDate       *time.Time `db:"expiration_date,date"`
	ProjectedCloseDate   *time.Time `db:"projected_close_date,date"`
	CloseDate            *time.Time `db:"close_date,date"`
	OfficeKey            string     `db:"office_key"`
	addressColumns
}

func newDeals(states []state) []dealRow {
	out := make([]dealRow, len(states))
	for i, s := range states {
		out[i] = newDeal(s)
	}
	return out
}

func newDeal(s state) dealRow {
	d, o := s.deal, s.origin
	r := dealRow{
		DealKey: d.DealKey, Tenant: o.Resource.Tenant, Vendor: o.Resource.Vendor, Account: o.Resource.Account,
		SourceID: o.Resource.ID, Revision: o.Revision,
		ReadAt: moment(o.ReadAt), ChangedAt: instant(o.ChangedAt), CreatedAt: instant(d.CreatedAt),
		Name: d.Name, Status: string(d.Status), VendorStatus: d.VendorStatus, StandardStatus: d.ListingStatus,
		Stage: d.Stage, Archived: d.Archived, Gone: d.Gone,
		Representation: string(d.Representation), DealType: d.DealType,
		ListingID: d.MLSNumber, EscrowNumber: d.EscrowNumber,
		PurchaseContractDate: instant(d.ContractDate), ListingContractDate: instant(d.ListingDate),
		ExpirationDate: instant(d.ExpirationDate), ProjectedCloseDate: instant(d.ProjectedCloseDate),
		CloseDate: instant(d.CloseDate),
		OfficeKey: d.OfficeKey, addressColumns: newAddress(d.Property),
	}
	r.ListPriceMinor, r.ListPriceCurrency = minor(d.ListPrice)
	r.SalePriceMinor, r.SalePriceCurrency = minor(d.SalePrice)
	r.EarnestMoneyMinor, r.EarnestMoneyCurrency = minor(d.EarnestMoney)
	return r
}

type addressColumns struct {
	Street          *string `db:"street"`
	UnitNumber      *string `db:"unit_number"`
	City            *string `db:"city"`
	StateOrProvince *string `db:"state_or_province"`
	PostalCode      *string `db:"postal_code"`
	CountyOrParish  *string `db:"county_or_parish"`
	Country         *string `db:"country"`
}

func newAddress(a *event.Address) addressColumns {
	if a == nil {
		return addressColumns{}
	}
	return addressColumns{&a.Street, &a.Unit, &a.City, &a.StateOrProvince, &a.PostalCode, &a.County, &a.Country}
}

type personColumns struct {
	ContactKey string `db:"contact_key"`
	SourceKey  string `db:"source_key"`
	FirstName  string `db:"first_name"`
	LastName   string `db:"last_name"`
	FullName   string `db:"full_name"`
	Company    string `db:"company"`
	Emails     string `db:"emails,text[]"`
	Phones     string `db:"phones,text[]"`
	addressColumns
}

func newPerson(c event.Contact) personColumns {
	return personColumns{
		ContactKey: c.ContactKey, SourceKey: c.SourceKey,
		FirstName: c.FirstName, LastName: c.LastName, FullName: c.FullName, Company: c.Company,
		Emails: literal(c.Emails), Phones: literal(c.Phones), addressColumns: newAddress(c.Address),
	}
}

type participantRow struct {
	partRow
	Role       string `db:"role"`
	VendorRole string `db:"vendor_role"`
	Client     bool   `db:"client"`
	personColumns
}

type agentRow struct {
	partRow
	MemberKey string `db:"member_key"`
	Role      string `db:"role"`
	Name      string `db:"name"`
	Email     string `db:"email"`
}

type commissionRow struct {
	DealKey             string  `db:"deal_key"`
	Revision            int64   `db:"revision"`
	Final               bool    `db:"final"`
	GrossMinor          *int64  `db:"gross_minor"`
	GrossCurrency       *string `db:"gross_currency"`
	ListingSideMinor    *int64  `db:"listing_side_minor"`
	ListingSideCurrency *string `db:"listing_side_currency"`
	BuyerSideMinor      *int64  `db:"buyer_side_minor"`
	BuyerSideCurrency   *string `db:"buyer_side_currency"`
	ReferralMinor       *int64  `db:"referral_minor"`
	ReferralCurrency    *string `db:"referral_currency"`
}

func newCommission(deal string, revision int64, c *event.Commission) commissionRow {
	r := commissionRow{DealKey: deal, Revision: revision, Final: c.Final}
	r.GrossMinor, r.GrossCurrency = minor(c.Gross)
	r.ListingSideMinor, r.ListingSideCurrency = minor(c.ListingSide)
	r.BuyerSideMinor, r.BuyerSideCurrency = minor(c.BuyerSide)
	r.ReferralMinor, r.ReferralCurrency = minor(c.Referral)
	return r
}

type feeRow struct {
	partRow
	Name           string `db:"name"`
	AmountMinor    int64  `db:"amount_minor"`
	AmountCurrency string `db:"amount_currency"`
}

type payeeRow struct {
	partRow
	PayeeKey       string  `db:"payee_key"`
	Name           string  `db:"name"`
	Role           string  `db:"role"`
	BasisPoints    *int32  `db:"basis_points"`
	AmountMinor    *int64  `db:"amount_minor"`
	AmountCurrency *string `db:"amount_currency"`
}

type historyRow struct {
	EventID              string     `db:"event_id,uuid"`
	DealKey              string     `db:"deal_key"`
	Tenant               string     `db:"tenant"`
	Revision             int64      `db:"revision"`
	Status               string     `db:"status"`
	PreviousStatus       *string    `db:"previous_status"`
	VendorStatus         string     `db:"vendor_status"`
	PreviousVendorStatus *string    `db:"previous_vendor_status"`
	ReadAt               time.Time  `db:"read_at"`
	ChangedAt            *time.Time `db:"changed_at"`
}

func newHistory(e *event.TransactionStatusChanged) historyRow {
	return historyRow{
		EventID: e.Origin.EventID, DealKey: e.Deal.DealKey, Tenant: e.Origin.Resource.Tenant, Revision: e.Origin.Revision,
		Status: string(e.Deal.Status), PreviousStatus: (*string)(e.Previous),
		VendorStatus: e.Deal.VendorStatus, PreviousVendorStatus: e.PreviousVendorStatus,
		ReadAt: moment(e.Origin.ReadAt), ChangedAt: instant(e.Origin.ChangedAt),
	}
}

type contactRow struct {
	ResourceKey string    `db:"resource_key"`
	Tenant      string    `db:"tenant"`
	DealKey     *string   `db:"deal_key"`
	Revision    int64     `db:"revision"`
	ReadAt      time.Time `db:"read_at"`
	Client      bool      `db:"client"`
	Removed     bool      `db:"removed"`
	Roles       string    `db:"roles,text[]"`
	AgentEmail  string    `db:"agent_email"`
	personColumns
}

func newContact(e *event.ContactChanged) contactRow {
	return contactRow{
		ResourceKey: e.Origin.Resource.Key(), Tenant: e.Origin.Resource.Tenant, DealKey: e.DealKey,
		Revision: e.Origin.Revision, ReadAt: moment(e.Origin.ReadAt),
		Client: e.Client, Removed: e.Removed, Roles: literal(e.Roles), AgentEmail: e.AgentEmail,
		personColumns: newPerson(e.Contact),
	}
}

type signatureRow struct {
	ResourceKey      string    `db:"resource_key"`
	DocumentID       string    `db:"document_id"`
	ContactKey       string    `db:"contact_key"`
	Tenant           string    `db:"tenant"`
	EnvelopeID       string    `db:"envelope_id"`
	DocumentName     string    `db:"document_name"`
	FullName         string    `db:"full_name"`
	Emails           string    `db:"emails,text[]"`
	SignerRole       string    `db:"signer_role"`
	SignedAt         time.Time `db:"signed_at"`
	EnvelopeComplete bool      `db:"envelope_complete"`
	ReadAt           time.Time `db:"read_at"`
}

func newSignature(e *event.DocumentSigned) signatureRow {
	return signatureRow{
		ResourceKey: e.Origin.Resource.Key(), DocumentID: e.DocumentID, ContactKey: e.Signer.ContactKey,
		Tenant: e.Origin.Resource.Tenant, EnvelopeID: e.EnvelopeID, DocumentName: e.DocumentName,
		FullName: e.Signer.FullName, Emails: literal(e.Signer.Emails), SignerRole: e.SignerRole,
		SignedAt: moment(e.SignedAt), EnvelopeComplete: e.EnvelopeComplete, ReadAt: moment(e.Origin.ReadAt),
	}
}

type linkRow struct {
	ResourceKey string    `db:"resource_key"`
	Tenant      string    `db:"tenant"`
	DealKey     *string   `db:"deal_key"`
	Revision    int64     `db:"revision"`
	Rung        string    `db:"rung"`
	ReadAt      time.Time `db:"read_at"`
}

func newLink(o *event.Origin, dealKey *string, rung event.LinkRung) linkRow {
	return linkRow{
		ResourceKey: o.Resource.Key(), Tenant: o.Resource.Tenant, DealKey: dealKey, Revision: o.Revision,
		Rung: string(rung), ReadAt: moment(o.ReadAt),
	}
}
