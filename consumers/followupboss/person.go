package followupboss

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	stageTrash = "Trash"
	// phoneDigits is how many trailing digits make two numbers the same, as in the vendor's search.
	phoneDigits = 10
	// leadEvent is the type of event that brings somebody in as a lead.
	leadEvent = "Registration"
)

// person is a person in the CRM, as far as we look.
type person struct {
	ID             int64   `json:"id"`
	FirstName      string  `json:"firstName"`
	LastName       string  `json:"lastName"`
	Stage          string  `json:"stage"`
	Source         string  `json:"source"`
	AssignedUserID int64   `json:"assignedUserId"`
	Emails         []reach `json:"emails"`
	Phones         []reach `json:"phones"`
}

// reach is an e-mail or phone with whatever else the vendor keeps of it.
type reach struct {
	value string
	raw   json.RawMessage
}

// UnmarshalJSON keeps the entry whole, to send it back as it was.
func (r *reach) UnmarshalJSON(text []byte) error {
	var v struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	r.value, r.raw = v.Value, slices.Clone(text)
	return nil
}

// MarshalJSON is the entry as it was read, or a new one.
func (r reach) MarshalJSON() ([]byte, error) {
	if r.raw != nil {
		return r.raw, nil
	}
	return json.Marshal(map[string]string{"value": r.value, "type": "home"})
}

func (a *Adapter) applyPerson(ctx context.Context, c call) (ledger.Receipt, error) {
	b := c.effect.Body.(personBody)
	p, found, err := a.find(ctx, c.account, b.contact)
	if err != nil {
		return ledger.Receipt{}, err
	}
	r := ledger.Receipt{Wake: verdict.PersonScope(c.tenant.ID, b.contact.ContactKey)}
	switch {
	case found && same(p.Stage, stageTrash):
		return r, verdict.Skipped("in the CRM's trash")
	case !found && !c.settings.CreateMissing:
		return r, verdict.Skipped("not in the CRM")
	}
	agent, err := a.agent(ctx, c, b.agent)
	if err != nil {
		return r, err
	}
	id, patch := p.ID, b.lacking(p, agent)
	switch {
	case !found:
		id, err = a.create(ctx, c, patch)
	case len(patch) == 0:
		r.NoOp = true
	default:
		_, err = a.crm.write(ctx, c.account, http.MethodPut, path("people", id), nil, patch)
	}
	if err != nil {
		return r, err
	}
	r.Ref = strconv.FormatInt(id, 10)
	return r, a.links.KeepPerson(ctx, c.account, b.contact.ContactKey, id)
}

func (a *Adapter) confirmPerson(ctx context.Context, c call) (ledger.Outcome, error) {
	b := c.effect.Body.(personBody)
	p, found, err := a.find(ctx, c.account, b.contact)
	if err != nil {
		return ledger.CannotTell, err
	}
	agent, err := a.agent(ctx, c, b.agent)
	if err != nil {
		return ledger.CannotTell, err
	}
	if !found || len(b.lacking(p, agent)) > 0 {
		return ledger.NotInPlace, nil
	}
	out, err := inPlace(a.links.KeepPerson(ctx, c.account, b.contact.ContactKey, p.ID))
	if err != nil {
		return out, err
	}
	copies, err := a.copies(ctx, c, b.contact)
	if copies {
		out = ledger.Doubled
	}
	return out, err
}

// copies says whether we made a contact's person more than once: of several people whom somebody
// entered, none is ours.
func (a *Adapter) copies(ctx context.Context, c call, contact event.Contact) (bool, error) {
	ours := map[int64]bool{}
	for _, by := range ways(contact) {
		for _, value := range by.values {
			found, err := a.matches(ctx, c.account, by, value)
			if err != nil {
				return false, err
			}
			for _, p := range found {
				if p.Source == c.settings.Source {
					ours[p.ID] = true
				}
			}
		}
		if len(by.values) > 0 {
			break // two people may share a phone, but no e-mail
		}
	}
	return len(ours) > 1, nil
}

// inPlace is the outcome once the link is kept.
func inPlace(err error) (ledger.Outcome, error) {
	if err != nil {
		return ledger.CannotTell, unsent(err)
	}
	return ledger.InPlace, nil
}

// create makes a person, as a lead where the tenant wants it so.
func (a *Adapter) create(ctx context.Context, c call, patch map[string]any) (int64, error) {
	if !c.settings.LeadEvents {
		patch["source"] = c.settings.Source
		// The vendor looks once more: somebody may have entered the person since we looked.
		return a.crm.write(ctx, c.account, http.MethodPost, "/v1/people", url.Values{"deduplicate": {"true"}}, patch)
	}
	id, err := a.crm.write(ctx, c.account, http.MethodPost, "/v1/events", nil, map[string]any{
		"source": c.settings.Source, "system": "Conveyance", "type": leadEvent, "person": patch,
	})
	if err == nil && id == 0 { // 204: the lead flow of this source is archived
		err = verdict.Skipped("lead flow archived")
	}
	return id, err
}

// find looks for a contact's person: by link, then e-mail, then phone; of several the oldest.
func (a *Adapter) find(ctx context.Context, acc tenant.Account, contact event.Contact) (person, bool, error) {
	links, err := a.links.People(ctx, acc, []string{contact.ContactKey})
	if err != nil {
		return person{}, false, err
	}
	if id, ok := links[contact.ContactKey]; ok {
		var p person
		if found, err := a.crm.get(ctx, acc, path("people", id), nil, &p); found || err != nil {
			return p, found, err
		}
	}
	for _, by := range ways(contact) {
		for _, value := range by.values {
			found, err := a.matches(ctx, acc, by, value)
			if err != nil {
				return person{}, false, err
			}
			if len(found) > 0 {
				return found[len(found)-1], true, nil
			}
		}
	}
	return person{}, false, nil
}

// way is how a person is searched for.
type way struct {
	field  string // of the vendor's search
	values []string
	has    func(person) []reach
	norm   func(string) string
}

// ways are those for a contact, the surer one first.
func ways(c event.Contact) []way {
	return []way{
		{"email", c.Emails, func(p person) []reach { return p.Emails }, fold},
		{"phone", c.Phones, func(p person) []reach { return p.Phones }, digits},
	}
}

// matches are the people whom a search finds and who do have the value, the oldest last: a filter
// that the vendor does not know is ignored by it.
func (a *Adapter) matches(ctx context.Context, acc tenant.Account, by way, value string) (out []person, err error) {
	err = pages(ctx, a.crm, acc, "/v1/people", "people", url.Values{by.field: {value}}, func(p person) bool {
		if holds(by.has(p), value, by.norm) {
			out = append(out, p)
		}
		return false
	})
	return out, err
}

// agent returns the id of the agent who should own new and unassigned people; 0 for none.
func (a *Adapter) agent(ctx context.Context, c call, email string) (int64, error) {
	if !c.settings.AssignAgents || email == "" {
		return 0, nil
	}
	id, _, err := a.user(ctx, c.account, email)
	return id, err
}

// lacking is what a person lacks of the contact. It adds only.
func (b personBody) lacking(p person, agent int64) map[string]any {
	patch := map[string]any{}
	if first, last := nameOf(b.contact); p.FirstName == "" && p.LastName == "" && first+last != "" {
		patch["firstName"], patch["lastName"] = first, last
	}
	if all := add(p.Emails, b.contact.Emails, fold); len(all) > len(p.Emails) {
		patch["emails"] = all
	}
	if all := add(p.Phones, b.contact.Phones, digits); len(all) > len(p.Phones) {
		patch["phones"] = all
	}
	if agent != 0 && p.AssignedUserID == 0 {
		patch["assignedUserId"] = agent
	}
	return patch
}

func add(have []reach, want []string, norm func(string) string) []reach {
	all := slices.Clone(have)
	for _, v := range want {
		if !holds(all, v, norm) {
			all = append(all, reach{value: v})
		}
	}
	return all
}

func holds(have []reach, value string, norm func(string) string) bool {
	return slices.ContainsFunc(have, func(r reach) bool { return norm(r.value) == norm(value) })
}

// digits are a number's last ten; all of a shorter one.
func digits(number string) string {
	only := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, number)
	return only[max(0, len(only)-phoneDigits):]
}

// nameOf is a contact's name in the CRM's two fields.
func nameOf(c event.Contact) (first, last string) {
	switch {
	case c.FirstName != "" || c.LastName != "":
		return c.FirstName, c.LastName
	case c.FullName != "":
		i := strings.LastIndex(c.FullName, " ")
		if i < 0 {
			return c.FullName, ""
		}
		return strings.TrimSpace(c.FullName[:i]), c.FullName[i+1:]
	}
	return c.Company, ""
}
