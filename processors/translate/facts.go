package translate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/fault"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

// facts maps a snapshot and fills the keys that a vendor cannot know. An error parks: a broken
// contract under the path that broke. A panic of the mapper is the mapper's fault, and parks as well.
// Fields that the account's settings say are renamed have their old names before it is asked.
// known is the deal before, or nil.
func facts(m producers.Mapper, s event.VendorSnapshot, who tenant.Tenant, known *event.Deal) (f producers.Facts, err error) {
	defer func() {
		if p := recover(); p != nil { // its value may hold anything, so only its type is told
			err = verdict.Parked("mapping panicked", fmt.Errorf("mapping %s: panic of type %T", s.Resource.Key(), p))
		}
	}()
	if a, ok := who.Account(s.Resource.Vendor, s.Resource.Account); ok {
		s = producers.Renamed(s, producers.Aliases(a.Settings))
	}
	f, err = m.Map(s)
	if err != nil {
		cause := "contract broken"
		if broken, ok := errors.AsType[*producers.ContractError](err); ok {
			cause += ": " + broken.Path
		}
		return f, verdict.Parked(cause, fmt.Errorf("mapping %s: %w", s.Resource.Key(), err))
	}
	stamp(&f, s.Resource.Key(), who.PseudonymKey, known)
	return f, nil
}

// stamp fills the keys of the deal, of everybody in it, and of payees whom the vendor gives no id.
// known is the record before, whose keys are taken over rather than made again; nil for none.
func stamp(f *producers.Facts, resource string, tenantKey []byte, known *event.Deal) {
	k := keys{resource: resource, tenantKey: tenantKey, known: known}
	if d := f.Deal; d != nil {
		d.DealKey = resource
		for i := range d.Participants {
			p := &d.Participants[i]
			p.Contact.ContactKey = k.contact(&p.Contact, string(p.Role))
		}
		if d.Commission != nil {
			for i := range d.Commission.Split {
				if p := &d.Commission.Split[i]; p.PayeeKey == "" {
					p.PayeeKey = event.Pseudonym(tenantKey, "payee", strings.ToLower(p.Name))
				}
			}
		}
	}
	for i := range f.Signatures {
		c := &f.Signatures[i].Signer
		c.ContactKey = k.contact(c, "signer")
	}
}

// keys makes the contact keys of one record.
type keys struct {
	resource  string
	tenantKey []byte
	known     *event.Deal
	places    map[string]int // by role, of those who have neither address nor id
}

func (k *keys) contact(c *event.Contact, role string) string {
	if len(c.Emails) > 0 || len(c.Phones) > 0 {
		if key, ok := k.taken(c); ok {
			return key
		}
		return event.ContactKey(k.tenantKey, *c, "")
	}
	where := c.SourceKey
	if where == "" {
		if k.places == nil {
			k.places = map[string]int{}
		}
		where = "#" + strconv.Itoa(k.places[role])
		k.places[role]++
	}
	return event.ContactKey(k.tenantKey, *c, k.resource+"/"+role+"/"+where)
}

// taken is the key of who had the same address before. An HMAC for everybody is a tenth of a
// translation.
func (k *keys) taken(c *event.Contact) (string, bool) {
	if k.known == nil {
		return "", false
	}
	for i := range k.known.Participants {
		was := &k.known.Participants[i].Contact
		if len(c.Emails) > 0 {
			if len(was.Emails) > 0 && was.Emails[0] == c.Emails[0] {
				return was.ContactKey, true
			}
			continue
		}
		if len(was.Emails) == 0 && len(was.Phones) > 0 && was.Phones[0] == c.Phones[0] {
			return was.ContactKey, true
		}
	}
	return "", false
}

// gone is what remains of a record that the vendor no longer has.
func gone(f producers.Facts) producers.Facts {
	if f.Deal != nil {
		d := *f.Deal
		d.Gone = true
		f.Deal = &d
	}
	return f
}

// The years in which a version counts as a time.
const (
	yearFirst = 2000
	yearLast  = 2100
)

// changedAt is when the vendor says that the record changed, where its version is a time: one that
// counts is no time in these years.
func changedAt(version int64) *time.Time {
	at := time.UnixMilli(version).UTC()
	if at.Year() < yearFirst || at.Year() >= yearLast {
		return nil
	}
	return &at
}

// outs completes events of one revision and says where each goes: contacts under their own key, all
// else under the deal's, which is key, the one of its record.
func outs(events []event.Event, s *event.VendorSnapshot, key []byte, revision int64, firstSight bool) []stream.Out {
	out := make([]stream.Out, 0, len(events))
	for _, e := range events {
		o := e.Source()
		id := event.ID(s.ReadAt, s.Resource, revision, e.Type(), o.Subject)
		if fault.Broken("body hash as eid") {
			id = event.ID(time.Time{}, s.Resource, fault.Hash(e), e.Type(), o.Subject)
		}
		*o = event.Origin{
			EventID:  id.String(),
			Resource: s.Resource, Revision: revision, Subject: o.Subject, FirstSight: firstSight,
			ReadAt: s.ReadAt, ChangedAt: changedAt(s.Version),
		}
		to := stream.Out{Topic: topic.Deals, Key: key, Message: e}
		switch e := e.(type) {
		case *event.ContactChanged:
			to.Topic, to.Key = topic.Contacts, []byte(e.Contact.ContactKey)
		case *event.CommissionChanged:
			e.Revision = revision
		}
		out = append(out, to)
	}
	return out
}
