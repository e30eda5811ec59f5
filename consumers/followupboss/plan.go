package followupboss

import (
	"context"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// personAfter is when a record that waits for a person looks again by itself: the person's wake may
// come between our look and our hold.
const personAfter = 15 * time.Second

// client is a client of a deal and their person in the CRM. A zero person has no link, but may be
// there nevertheless: it is looked for when the effect is applied, and left out where it is not.
type client struct {
	contact event.Contact
	person  int64
}

// The bodies of the effects: what a verb needs of the event.
type (
	personBody struct {
		contact event.Contact
		agent   string // e-mail
	}
	dealBody struct {
		deal    *event.Deal
		source  event.Resource
		changed []string
		clients []client
	}
	stageBody struct {
		client client
		stage  string
	}
)

func (a *Adapter) planContact(_ context.Context, _ tenant.Tenant, e *event.ContactChanged) ([]ledger.Effect, error) {
	switch {
	case !e.Client:
		return nil, verdict.Skipped("not a client")
	case e.Removed:
		return nil, verdict.Skipped("contact left the deal")
	case !reachable(e.Contact):
		return nil, verdict.Skipped("neither e-mail nor phone")
	}
	key := e.Contact.ContactKey
	return []ledger.Effect{{
		Verb: verbPerson, Target: key, Class: ledger.ClassC, Facet: facet(e, key),
		Line: "client in the CRM", Body: personBody{e.Contact, e.AgentEmail},
	}}, nil
}

func (a *Adapter) planDeal(ctx context.Context, t tenant.Tenant, e *event.DealChanged) ([]ledger.Effect, error) {
	s, err := settingsOf(t)
	switch {
	case err != nil:
		return nil, err
	case len(s.DealStages) == 0:
		return nil, verdict.Skipped("no deal stages configured")
	case e.Deal.Gone:
		return nil, verdict.Skipped("deal gone at its source")
	}
	stage, staged := s.DealStages[e.Deal.Status]
	// Without a stage no deal is made, and one that is there waits for nobody.
	clients, err := a.clients(ctx, t, &e.Deal, consumers.Clients(&e.Deal), s.CreateMissing && staged)
	if err != nil {
		return nil, err
	}
	line := "deal"
	if staged {
		line += " → " + stage
	}
	if p := price(&e.Deal); p != nil {
		line += ", " + consumers.Amount(*p)
	}
	return []ledger.Effect{{
		Verb: verbDeal, Target: e.Deal.DealKey, Class: ledger.ClassC, Facet: facet(e, ""),
		Line: line, Body: dealBody{&e.Deal, e.Origin.Resource, e.Changed, clients},
	}}, nil
}

func (a *Adapter) planStatus(
	ctx context.Context, t tenant.Tenant, e *event.TransactionStatusChanged,
) ([]ledger.Effect, error) {
	s, err := settingsOf(t)
	if err != nil {
		return nil, err
	}
	stage, staged := s.Stages[e.Deal.Status]
	switch {
	case !staged:
		return nil, verdict.Skipped("no stage for " + string(e.Deal.Status))
	case e.Deal.Gone:
		return nil, verdict.Skipped("deal gone at its source")
	}
	clients, err := a.clients(ctx, t, &e.Deal, consumers.Clients(&e.Deal), s.CreateMissing)
	if err != nil {
		return nil, err
	}
	if len(clients) == 0 {
		return nil, verdict.Skipped("no client")
	}
	effects := make([]ledger.Effect, len(clients))
	for i, c := range clients {
		effects[i] = ledger.Effect{
			Verb: verbStage, Target: c.contact.ContactKey, Class: ledger.ClassC, Facet: facet(e, c.contact.ContactKey),
			Line: "client → " + stage, Body: stageBody{c, stage},
		}
	}
	return effects, nil
}

// clients are those of a deal's clients who can be reached, with their people in the CRM. Where wait
// is set it holds for the first whom the events of contacts have yet to make; they made nobody for a
// deal from before go-live, so that such a deal waits for nobody.
func (a *Adapter) clients(
	ctx context.Context, t tenant.Tenant, d *event.Deal, of []event.Contact, wait bool,
) ([]client, error) {
	account, _ := t.Account(Name, t.Adapters[Name].Account)
	var out []client
	var keys []string
	for _, c := range of {
		if reachable(c) {
			out, keys = append(out, client{contact: c}), append(keys, c.ContactKey)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	ids, err := a.links.People(ctx, account, keys)
	if err != nil {
		return nil, err
	}
	if d.CreatedAt != nil && d.CreatedAt.Before(t.Adapters[Name].EffectsFrom) {
		wait = false
	}
	for i, key := range keys {
		out[i].person = ids[key]
		if wait && ids[key] == 0 {
			return nil, verdict.Held(verdict.PersonScope(t.ID, key), time.Now().Add(personAfter), "no person yet", nil)
		}
	}
	return out, nil
}

// facet is what an effect sets, for the revision guard: one per event type and target, since one
// event may have an effect on several (protocol.md 14).
func facet(e event.Event, target string) ledger.Facet {
	name := string(e.Type())
	if target != "" {
		name += "/" + target
	}
	return ledger.Facet{Resource: e.Source().Resource.Key(), Name: name, Revision: e.Source().Revision}
}

// reachable is false for a contact that the CRM could neither find again nor deduplicate.
func reachable(c event.Contact) bool { return len(c.Emails)+len(c.Phones) > 0 }

func price(d *event.Deal) *event.Money {
	if d.SalePrice != nil {
		return d.SalePrice
	}
	return d.ListPrice
}

// same compares names as the CRM and people do.
func same(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }
