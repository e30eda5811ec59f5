package translate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

// facts maps a snapshot and fills the keys that a vendor cannot know. An error parks: a broken
// contract under the path that broke. A panic of the mapper is the mapper's fault, and parks as well.
// Fields that the account's settings say are renamed have their old names before it is asked.
func facts(m producers.Mapper, s event.VendorSnapshot, who tenant.Tenant) (f producers.Facts, err error) {
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
	stamp(&f, s.Resource.Key(), who.PseudonymKey)
	return f, nil
}

// stamp fills the keys of the deal, of everybody in it, and of payees whom the vendor gives no id.
func stamp(f *producers.Facts, resource string, tenantKey []byte) {
	places := map[string]int{}
	key := func(c *event.Contact, role string) {
		fallback := ""
		if len(c.Emails) == 0 && len(c.Phones) == 0 {
			where := c.SourceKey
			if where == "" {
				where = "#" + strconv.Itoa(places[role])
				places[role]++
			}
			fallback = resource + "/" + role + "/" + where
		}
		c.ContactKey = event.ContactKey(tenantKey, *c, fallback)
	}
	if d := f.Deal; d != nil {
		d.DealKey = resource
		for i := range d.Participants {
			key(&d.Participants[i].Contact, string(d.Participants[i].Role))
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
		key(&f.Signatures[i].Signer, "signer")
	}
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
// else under the deal's, which is the key of its record.
func outs(events []event.Event, s *event.VendorSnapshot, revision int64, firstSight bool) []stream.Out {
	key := []byte(s.Resource.Key())
	out := make([]stream.Out, 0, len(events))
	for _, e := range events {
		o := e.Source()
		*o = event.Origin{
			EventID:  event.ID(s.ReadAt, s.Resource, revision, e.Type(), o.Subject).String(),
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
