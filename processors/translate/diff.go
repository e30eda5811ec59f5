package translate

import (
	"slices"

	"conveyance/avro/event"
	"conveyance/producers"
)

// Diff says what happened between two states of one record, the same for every vendor. Keys of deals
// and contacts must be filled in both. It is pure; an event's origin has its subject and nothing
// else yet. Facts that are empty before are a record that was not known.
//
//	ContactChanged            a participant is new, described otherwise, or no longer named (Removed)
//	DealChanged               anything in the deal differs, its being gone included
//	TransactionStatusChanged  our status or the vendor's word differs, or is seen first
//	CommissionChanged         stated first, changed, final, or taken back (then it is empty)
//	DocumentSigned            a signature that was not there before
//
// At most one event of a type and subject comes of one call, contacts first: the people of a deal
// are on their way before the deal. A deal that is gone names nobody any more.
func Diff(before, after producers.Facts) []event.Event {
	events := contactEvents(before, after)
	if after.Deal != nil {
		events = append(events, dealEvents(before.Deal, after.Deal)...)
	}
	for _, e := range signatureEvents(before, after) {
		if after.Deal != nil {
			e.Deal, e.DealKey = after.Deal, &after.Deal.DealKey
		}
		events = append(events, e)
	}
	return events
}

func dealEvents(before, after *event.Deal) []event.Event {
	var events []event.Event
	known := before
	if known == nil {
		known = &event.Deal{}
	}
	if changed := changedFields(dealFields(), known, after); len(changed) > 0 {
		events = append(events, &event.DealChanged{Deal: *after, Changed: changed})
	}
	if before == nil || before.Status != after.Status || before.VendorStatus != after.VendorStatus {
		e := &event.TransactionStatusChanged{Deal: *after}
		if before != nil {
			e.Previous, e.PreviousVendorStatus = &before.Status, &before.VendorStatus
		}
		events = append(events, e)
	}
	if !sameCommission(known.Commission, after.Commission) {
		e := &event.CommissionChanged{Deal: *after}
		if after.Commission != nil {
			e.Commission, e.Final = *after.Commission, after.Commission.Final
		}
		events = append(events, e)
	}
	return events
}

// person is a contact with all that one record says of it.
type person struct {
	contact event.Contact
	roles   []event.ParticipantRole // sorted
	client  bool
	agent   string // e-mail of the deal's primary agent
}

// people are the contacts of a deal by key, and the keys in the deal's order. Participants of one key
// are one contact with all their roles; the first one's values count, later ones fill what it lacks.
func people(d *event.Deal) (map[string]person, []string) {
	if d == nil || d.Gone {
		return nil, nil
	}
	out := make(map[string]person, len(d.Participants))
	keys := make([]string, 0, len(d.Participants))
	agent := primaryAgent(d.Agents)
	for _, p := range d.Participants {
		key := p.Contact.ContactKey
		have, twice := out[key]
		if !twice {
			keys = append(keys, key)
			have = person{contact: p.Contact, agent: agent}
		} else {
			have.contact = filled(have.contact, p.Contact)
		}
		if i, found := slices.BinarySearch(have.roles, p.Role); !found {
			have.roles = slices.Insert(have.roles, i, p.Role)
		}
		have.client = have.client || p.Client
		out[key] = have
	}
	return out, keys
}

func primaryAgent(agents []event.Agent) string {
	for _, a := range agents {
		if a.Role == event.AgentRolePrimary {
			return a.Email
		}
	}
	return ""
}

// filled is c with what more knows beyond it. Neither is changed.
func filled(c, more event.Contact) event.Contact {
	if c.FullName == "" {
		c.FirstName, c.LastName, c.FullName = more.FirstName, more.LastName, more.FullName
	}
	if c.SourceKey == "" {
		c.SourceKey = more.SourceKey
	}
	if c.Company == "" {
		c.Company = more.Company
	}
	if c.Address == nil {
		c.Address = more.Address
	}
	c.Emails = union(c.Emails, more.Emails)
	c.Phones = union(c.Phones, more.Phones)
	return c
}

func union(list, more []string) []string {
	out := slices.Clip(list) // appending copies
	for _, s := range more {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func contactEvents(before, after producers.Facts) []event.Event {
	if samePeople(before.Deal, after.Deal) {
		return nil
	}
	was, gone := people(before.Deal)
	is, keys := people(after.Deal)
	var events []event.Event
	for _, key := range keys {
		old, now := was[key], is[key]
		changed := changedFields(contactFields(), &old.contact, &now.contact)
		if !slices.Equal(old.roles, now.roles) {
			changed = append(changed, "roles")
		}
		if old.client != now.client {
			changed = append(changed, "client")
		}
		if old.agent != now.agent {
			changed = append(changed, "agent_email")
		}
		if len(changed) > 0 {
			slices.Sort(changed)
			events = append(events, contactEvent(now, after.Deal.DealKey, changed, false))
		}
	}
	for _, key := range gone {
		if _, still := is[key]; !still {
			events = append(events, contactEvent(was[key], before.Deal.DealKey, []string{"removed"}, true))
		}
	}
	return events
}

// samePeople is true where two states of a deal name the same people alike: most changes are of a
// price, a date or a status.
func samePeople(a, b *event.Deal) bool {
	return a != nil && b != nil && a.Gone == b.Gone && primaryAgent(a.Agents) == primaryAgent(b.Agents) &&
		slices.EqualFunc(a.Participants, b.Participants, sameParticipant)
}

func contactEvent(p person, dealKey string, changed []string, removed bool) *event.ContactChanged {
	return &event.ContactChanged{
		Origin: event.Origin{Subject: p.contact.ContactKey}, Contact: p.contact, DealKey: &dealKey, Roles: p.roles,
		Client: p.client, AgentEmail: p.agent, Changed: changed, Removed: removed,
	}
}

// signatureEvents are the signatures of after that are not in before, without their deal.
func signatureEvents(before, after producers.Facts) []*event.DocumentSigned {
	if len(after.Signatures) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, s := range before.Signatures {
		known[signatureSubject(s)] = true
	}
	var events []*event.DocumentSigned
	for _, s := range after.Signatures {
		subject := signatureSubject(s)
		if known[subject] {
			continue
		}
		known[subject] = true
		events = append(events, &event.DocumentSigned{
			Origin:     event.Origin{Subject: subject},
			DocumentID: s.DocumentID, DocumentName: s.DocumentName, EnvelopeID: s.EnvelopeID, EnvelopeComplete: s.Complete,
			Signer: s.Signer, SignerRole: s.SignerRole, SignedAt: s.SignedAt,
		})
	}
	return events
}

// signatureSubject is document and signer, without personal data.
func signatureSubject(s producers.Signature) string {
	return s.EnvelopeID + "/" + s.DocumentID + "/" + s.Signer.ContactKey
}
