// Package truth says what each destination must hold in the end, from the vendors' records and the
// configuration alone. It shares no code with the product: it is the judge. What cannot be known
// from the records (which passing states the product saw, in what order two deals of one person
// reached the CRM) is stated as what is allowed.
package truth

import (
	"cmp"
	"net/url"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

// Truth is the answer of GET /_control/truth:
//
//	{"tenants":{"lakeshore":{
//	  "deals":{"<deal key>":{
//	    "warehouse":{"status":"CLOSED","vendor_status":"Closed","archived":false,"sale_price_minor":52500000,
//	      "list_price_minor":53000000,"currency":"USD","contract_date":"2026-02-01","projected_close_date":"2026-03-01",
//	      "close_date":"2026-03-01","mls_number":"MLS1","participants":3,"gross_commission_minor":1312500,"gone":false},
//	    "followupboss":{"deal":{"stage":"Closed","stages":["Closed"],"price":525000,
//	      "projectedCloseDate":"2026-03-01","people":1}}}},
//	  "people":{"<e-mail or +1 phone>":{"count":1,"stages":["Closed"],"assigned":["agent@…"],"notes":2}},
//	  "envelopes":{"<resource key>":{"deal":"<deal key>","signatures":2,"kind":"field"}}}}}
//
// A deal key is tenant/skyslope/account/sale/guid, an envelope's tenant/docusign/account/envelope/id,
// each part path-escaped. Amounts and dates that
// the record lacks are null.
type Truth struct {
	Tenants map[string]Tenant `json:"tenants"`
}

// Tenant is one brokerage's part.
type Tenant struct {
	Deals  map[string]Deal   `json:"deals"`
	People map[string]Person `json:"people"`
	// Envelopes are absent where the tenant has none.
	Envelopes map[string]Envelope `json:"envelopes,omitempty"`
}

// Deal is what the destinations hold of one deal.
type Deal struct {
	Warehouse    Warehouse    `json:"warehouse"`
	FollowUpBoss FollowUpBoss `json:"followupboss"`
}

// Warehouse is the deal's row. Participants are those that say anything, once per role and person.
type Warehouse struct {
	Status               string  `json:"status"`
	VendorStatus         string  `json:"vendor_status"`
	Archived             bool    `json:"archived"`
	SalePriceMinor       *int64  `json:"sale_price_minor"`
	ListPriceMinor       *int64  `json:"list_price_minor"`
	Currency             string  `json:"currency"`
	ContractDate         *string `json:"contract_date"`
	ProjectedCloseDate   *string `json:"projected_close_date"`
	CloseDate            *string `json:"close_date"`
	MLSNumber            string  `json:"mls_number"`
	Participants         int     `json:"participants"`
	GrossCommissionMinor *int64  `json:"gross_commission_minor"`
	Gone                 bool    `json:"gone"`
}

// FollowUpBoss is the deal in the CRM.
type FollowUpBoss struct {
	// Deal is null where there must be none: no status of the deal has a stage, or the deal is older
	// than the go-live instant.
	Deal *CRMDeal `json:"deal"`
	// Optional says that there may also be none: the deal's last status has no stage, so that only a
	// passing one may have made it, or the deal began before the go-live instant and changed after.
	Optional bool `json:"optional,omitempty"`
}

// CRMDeal is the deal's fields in the CRM.
type CRMDeal struct {
	Stage              string   `json:"stage"`
	Stages             []string `json:"stages"` // all that are allowed; one, unless passing ones may have stayed
	Price              *float64 `json:"price"`  // in dollars: the sale price, else the list price
	ProjectedCloseDate *string  `json:"projectedCloseDate"`
	People             int      `json:"people"` // on the represented side; the most of them where the deal is optional
}

// Person is somebody on the represented side of a deal: one per tenant and e-mail, else phone.
type Person struct {
	// Count is 1; 0 where the tenant wants nobody made and nobody entered the person by hand.
	Count int `json:"count"`
	// Optional says that there may also be none: as for deals.
	Optional bool     `json:"optional,omitempty"`
	Stages   []string `json:"stages"` // allowed, sorted
	// Assigned are the e-mails of the agents who may own the person, sorted; absent where the tenant
	// does not want agents assigned.
	Assigned []string `json:"assigned,omitempty"`
	// Notes is how many notes of signatures are on the person's timeline; absent where the tenant wants
	// none.
	Notes *int `json:"notes,omitempty"`
}

// stageAtCreation is the CRM's own stage for a new person.
const stageAtCreation = "Lead"

// Of computes the truth from what the vendors hold now.
func Of(tenants []world.Tenant, v records.View) Truth {
	out := Truth{Tenants: map[string]Tenant{}}
	for _, t := range tenants {
		j := &judge{cfg: t.FollowUpBoss, out: Tenant{Deals: map[string]Deal{}, People: map[string]Person{}}}
		for _, a := range world.Accounts([]world.Tenant{t}, "followupboss") {
			j.crm = true
			j.entered = append(j.entered, entered(v.List(a.Key(), "people"))...)
		}
		var sales []sale
		for _, a := range world.Accounts([]world.Tenant{t}, "skyslope") {
			agents := v.List(a.Key(), "users")
			for _, rec := range v.List(a.Key(), "sales") {
				s := read(rec, agents)
				s.key = resourceKey(a, "sale", rec.ID)
				j.out.Deals[s.key] = j.deal(s)
				sales = append(sales, s)
			}
		}
		j.people(sales)
		for _, a := range world.Accounts([]world.Tenant{t}, "docusign") {
			j.envelopes(a, v.List(a.Key(), "envelopes"), sales)
		}
		out.Tenants[t.ID] = j.out
	}
	return out
}

func resourceKey(a world.Account, kind, id string) string {
	parts := []string{a.Tenant, a.Vendor, a.Name, kind, id}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// judge works one tenant out.
type judge struct {
	cfg world.FUBConfig
	crm bool // the tenant has an account at the CRM
	// entered are the keys of people whom somebody entered into the CRM by hand.
	entered []string
	out     Tenant
}

// effect says whether a sale has effects in the CRM: surely, perhaps, or not at all.
func (j *judge) effect(s sale) (has, perhaps bool) {
	from := j.cfg.EffectsFrom
	switch {
	case !j.crm || s.modified.Before(from):
		return false, false
	case s.created.Before(from) || s.gone:
		return true, true
	default:
		return true, false
	}
}

func (j *judge) deal(s sale) Deal {
	d := Deal{Warehouse: s.warehouse()}
	has, perhaps := j.effect(s)
	if !has {
		return d
	}
	allowed, current := staged(s, j.cfg.DealStages)
	if len(allowed) == 0 {
		return d
	}
	deal := &CRMDeal{
		Stage: allowed[len(allowed)-1], Stages: allowed, ProjectedCloseDate: s.projected,
	}
	for _, key := range s.clients {
		deal.People += j.count(key)
	}
	if cents := cmp.Or(s.salePrice, s.listPrice); cents != nil {
		dollars := float64(*cents) / 100
		deal.Price = &dollars
	}
	d.FollowUpBoss = FollowUpBoss{Deal: deal, Optional: perhaps || !current}
	return d
}

// staged are the stages that a sale may have led to: that of its status now or, where it has none,
// those of the statuses it passed through, in their order. current says which.
func staged(s sale, stages map[string]string) (allowed []string, current bool) {
	if stage := stages[s.status]; stage != "" {
		return []string{stage}, true
	}
	for _, status := range s.passed {
		if stage := stages[status]; stage != "" {
			allowed = append(allowed, stage)
		}
	}
	return unique(allowed), false
}

// instant reads one of the vendor's times.
func instant(text string) time.Time {
	at, err := time.Parse("2006-01-02T15:04:05", text)
	if err != nil {
		return time.Time{}
	}
	return at
}
