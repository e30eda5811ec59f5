package followupboss

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	// fieldKey is the deal custom field that holds our reference, so that a deal whose creation had
	// no answer is found again. Its label in the CRM is Conveyance Key.
	fieldKey = "customConveyanceKey"
	// clockSlack is how far the source's clock may be ahead of the CRM's.
	clockSlack = 24 * time.Hour
)

// deal is a deal in the CRM, as far as we look.
type deal struct {
	ID                   int64       `json:"id"`
	Name                 string      `json:"name"`
	StageID              int64       `json:"stageId"`
	Price                json.Number `json:"price"`
	CommissionValue      json.Number `json:"commissionValue"`
	ProjectedCloseDate   string      `json:"projectedCloseDate"`
	MutualAcceptanceDate string      `json:"mutualAcceptanceDate"`
	People               []ref       `json:"people"`
	Users                []ref       `json:"users"`
	CreatedAt            string      `json:"createdAt"`
	Key                  string      `json:"customConveyanceKey"`
}

type ref struct {
	ID int64 `json:"id"`
}

// wish is what a deal should be in the CRM, and what of it is known there.
type wish struct {
	body          dealBody
	link          dealLink
	key           string
	stage         int64 // 0 = leave it
	people, users []int64
}

func (a *Adapter) applyDeal(ctx context.Context, c call) (ledger.Receipt, error) {
	w, have, found, err := a.lookDeal(ctx, c)
	switch {
	case err != nil:
		return ledger.Receipt{}, err
	case !found && w.link.ID != 0:
		return ledger.Receipt{}, verdict.Skipped("deleted in the CRM")
	case !found && w.stage == 0:
		return ledger.Receipt{}, verdict.Skipped("no deal stage for " + string(w.body.deal.Status))
	}
	var r ledger.Receipt
	id, patch := have.ID, w.patch(have)
	switch {
	case !found:
		patch[fieldKey] = w.key
		id, err = a.crm.write(ctx, c.account, http.MethodPost, "/v1/deals", nil, patch)
	case len(patch) == 0:
		r.NoOp = true
	default:
		_, err = a.crm.write(ctx, c.account, http.MethodPut, path("deals", id), nil, patch)
	}
	if err != nil {
		return r, err
	}
	r.Ref = strconv.FormatInt(id, 10)
	return r, a.links.KeepDeal(ctx, c.account, w.body.deal.DealKey, dealLink{id, w.people, w.users})
}

func (a *Adapter) confirmDeal(ctx context.Context, c call) (ledger.Outcome, error) {
	w, have, found, err := a.lookDeal(ctx, c)
	switch {
	case err != nil:
		return ledger.CannotTell, err
	case !found || len(w.patch(have)) > 0:
		return ledger.NotInPlace, nil
	}
	out, err := inPlace(a.links.KeepDeal(ctx, c.account, w.body.deal.DealKey, dealLink{have.ID, w.people, w.users}))
	if err != nil {
		return out, err
	}
	copies, err := a.planted(ctx, c.account, w)
	if len(copies) > 1 {
		out = ledger.Doubled
	}
	return out, err
}

// lookDeal resolves what a deal should be and reads what it is.
func (a *Adapter) lookDeal(ctx context.Context, c call) (w wish, have deal, found bool, err error) {
	w.body = c.effect.Body.(dealBody)
	w.key = event.Pseudonym(c.tenant.PseudonymKey, "deal", w.body.deal.DealKey)
	if name, ok := c.settings.DealStages[w.body.deal.Status]; ok {
		if w.stage, ok, err = a.dealStage(ctx, c.account, c.settings.Pipeline, name); err == nil && !ok {
			err = noStage("deal stage", name)
		}
		if err != nil {
			return w, have, false, err
		}
	}
	if w.link, err = a.links.Deal(ctx, c.account, w.body.deal.DealKey); err != nil {
		return w, have, false, err
	}
	if w.people, err = a.people(ctx, c, w.body.clients); err != nil {
		return w, have, false, err
	}
	if w.users, err = a.agents(ctx, c, w.body.deal.Agents); err != nil {
		return w, have, false, err
	}
	if w.link.ID != 0 {
		found, err = a.crm.get(ctx, c.account, path("deals", w.link.ID), allFields(), &have)
		return w, have, found, err
	}
	copies, err := a.planted(ctx, c.account, w)
	if len(copies) > 0 {
		have, found = copies[len(copies)-1], true
	}
	return w, have, found, err
}

// planted finds the deals with our reference, the oldest last: among those of its people, else among
// the account's newest.
func (a *Adapter) planted(ctx context.Context, acc tenant.Account, w wish) (found []deal, err error) {
	queries := []url.Values{}
	for _, id := range w.people {
		q := allFields()
		q.Set("personId", strconv.FormatInt(id, 10))
		queries = append(queries, q)
	}
	if len(queries) == 0 {
		queries = append(queries, allFields())
	}
	for _, q := range queries {
		err := pages(ctx, a.crm, acc, "/v1/deals", "deals", q, func(d deal) bool {
			if d.Key == w.key {
				found = append(found, d)
			}
			return w.before(d) // newest first
		})
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, nil
}

// before says that a deal in the CRM is older than ours at its source, so that it cannot be ours.
func (w wish) before(d deal) bool {
	made := w.body.deal.CreatedAt
	at, err := time.Parse(time.RFC3339, d.CreatedAt)
	return made != nil && err == nil && at.Before(made.Add(-clockSlack))
}

// people are the ids of clients; who has no link is looked for, and left out where not there.
func (a *Adapter) people(ctx context.Context, c call, clients []client) ([]int64, error) {
	ids := []int64{}
	for _, who := range clients {
		if who.person == 0 {
			p, found, err := a.find(ctx, c.account, who.contact)
			if err != nil {
				return nil, err
			}
			if !found {
				continue
			}
			if err := a.links.KeepPerson(ctx, c.account, who.contact.ContactKey, p.ID); err != nil {
				return nil, unsent(err)
			}
			who.person = p.ID
		}
		if !slices.Contains(ids, who.person) {
			ids = append(ids, who.person)
		}
	}
	return ids, nil
}

// agents are the ids of those agents who are users of the account.
func (a *Adapter) agents(ctx context.Context, c call, agents []event.Agent) ([]int64, error) {
	ids := []int64{}
	for _, agent := range agents {
		id, err := a.agent(ctx, c, agent.Email)
		if err != nil {
			return nil, err
		}
		if id != 0 && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func allFields() url.Values { return url.Values{"fields": {"allFields"}} }

// patch is what must change in the CRM. A field that the source does not state is left alone, and
// cleared only by the event that took it back.
func (w wish) patch(have deal) map[string]any {
	d, p := w.body.deal, map[string]any{}
	if name := w.name(); have.Name != name {
		p["name"] = name
	}
	if w.stage != 0 && have.StageID != w.stage {
		p["stageId"] = w.stage
	}
	set := func(field, have, want string, value any, sources ...string) {
		taken := func(s string) bool { return slices.Contains(w.body.changed, s) }
		switch {
		case want == "" && have != "" && slices.ContainsFunc(sources, taken):
			p[field] = nil
		case want != "" && want != have:
			p[field] = value
		}
	}
	amount := func(field string, have json.Number, m *event.Money, sources ...string) {
		want := major(m)
		set(field, decimal(have), decimal(want), want, sources...)
	}
	date := func(field, have string, day *time.Time, source string) {
		want := consumers.Date(day)
		set(field, have[:min(len(have), len(time.DateOnly))], want, want, source)
	}
	amount("price", have.Price, price(d), "sale_price", "list_price")
	var gross *event.Money
	if d.Commission != nil {
		gross = d.Commission.Gross
	}
	amount("commissionValue", have.CommissionValue, gross, "commission")
	date("projectedCloseDate", have.ProjectedCloseDate, d.ProjectedCloseDate, "projected_close_date")
	date("mutualAcceptanceDate", have.MutualAcceptanceDate, d.ContractDate, "contract_date")
	if ids, same := merge(have.People, w.link.People, w.people); !same {
		p["peopleIds"] = ids
	}
	if ids, same := merge(have.Users, w.link.Users, w.users); !same {
		p["userIds"] = ids
	}
	return p
}

// name is the deal's, else the vendor's id of it: the CRM wants one.
func (w wish) name() string {
	if w.body.deal.Name != "" {
		return w.body.deal.Name
	}
	return w.body.source.ID
}

// merge is whom a deal should have: ours, and those whom somebody else put on it.
func merge(have []ref, before, ours []int64) (ids []int64, same bool) {
	ids = slices.Clone(ours)
	for _, h := range have {
		if !slices.Contains(before, h.ID) && !slices.Contains(ids, h.ID) {
			ids = append(ids, h.ID)
		}
	}
	same = len(ids) == len(have)
	for _, h := range have {
		same = same && slices.Contains(ids, h.ID)
	}
	return ids, same
}

func major(m *event.Money) json.Number {
	if m == nil {
		return ""
	}
	return json.Number(consumers.Major(*m))
}

// decimal writes a number in one way only, to compare it.
func decimal(n json.Number) string {
	f, err := n.Float64()
	if err != nil {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
