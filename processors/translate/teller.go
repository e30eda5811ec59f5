package translate

import (
	"strconv"
	"time"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/stream"
	"conveyance/processors/link"
)

// teller makes the events of one record's links. Ids are made of what never changes (protocol.md 15):
// of a link, the number and the instant of its decision; of a signature under the first link, the
// snapshot that brought it; of one under a later link, that link's instant, and its number.
type teller struct {
	resource   event.Resource
	held       held // the record's state
	firstSight bool
	outs       []stream.Out
	signed     []*event.DocumentSigned
}

func (t *teller) origin(typ event.Type, at time.Time, revision int64, subject string) event.Origin {
	return event.Origin{
		EventID:  event.ID(at, t.resource, revision, typ, subject).String(),
		Resource: t.resource, Revision: revision, Subject: subject, ReadAt: at,
	}
}

func (t *teller) linked(d link.Decision) {
	t.link(&event.ResourceLinked{
		Origin:  t.origin(event.TypeResourceLinked, d.At, d.Seq, ""),
		DealKey: d.Deal, Rung: d.Rung, Evidence: d.Evidence, Actor: d.Actor,
	})
}

func (t *teller) unlinked(d link.Decision, deal string) {
	t.link(&event.ResourceUnlinked{
		Origin:  t.origin(event.TypeResourceUnlinked, d.At, d.Seq, ""),
		DealKey: deal, Reason: d.Reason, Actor: d.Actor,
	})
}

func (t *teller) link(e event.Event) {
	t.outs = append(t.outs, stream.Out{Topic: topic.Links, Key: []byte(t.resource.Key()), Message: e})
}

// signatures tells signatures under a deal. They are facts (protocol.md 14): what is told again under
// another deal is told as another event.
func (t *teller) signatures(events []*event.DocumentSigned, d link.Decision, at time.Time) {
	for _, e := range events {
		subject := e.Origin.Subject
		if d.Seq > 1 {
			subject += "#" + strconv.FormatInt(d.Seq, 10)
		}
		e.Origin = t.origin(event.TypeDocumentSigned, at, t.held.revision, subject)
		e.Origin.FirstSight, e.Origin.ChangedAt = t.firstSight, changedAt(t.held.version)
		e.DealKey = &d.Deal
		t.signed = append(t.signed, e)
		t.outs = append(t.outs, stream.Out{Topic: topic.Deals, Key: []byte(d.Deal), Message: e})
	}
}
