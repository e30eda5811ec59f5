package translate

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/processors/link"
	"conveyance/producers"
)

// linker is processors/link.
type linker interface {
	Read(ctx context.Context, resources []string) (map[string]link.Links, error)
	Decide(ctx context.Context, records []link.Record) (map[string]link.Links, error)
	Write(ctx context.Context, tx pgx.Tx, c link.Changes) error
}

// The outcomes of records that are tied to deals.
const (
	outcomeWaiting  = "waiting"
	outcomeRelinked = "relinked"
)

// The causes of a hold for a deal, as held list prints them.
const (
	CauseNoDeal = "no deal yet"
	CauseUndone = "link undone"
)

// A waiting record is woken by a deal's claims or by a person. It looks by itself as well, the rarer
// the longer it has waited: for what the vendor changed of it, which queues behind it.
const (
	lookFirst = time.Minute
	lookLast  = time.Hour
	lookShare = 8 // of its age
)

// links is what a batch of a vendor whose records are tied to deals knows beyond their state. Nothing
// of it outlives the batch: a person decides at any time.
type links struct {
	by     map[string]link.Links    // decisions, by record
	mapped map[*stream.Record]facet // so that no snapshot is mapped twice
	waits  map[string]link.Wait
	acted  map[string]int64
	embeds []unembedded
}

type facet struct {
	facts producers.Facts
	err   error
}

// unembedded is a signature that waits for what is known of its deal.
type unembedded struct {
	event *event.DocumentSigned
	deal  string
	who   tenant.Tenant
}

// readLinks reads what is decided of the batch's records, and has the ladder decide about those that
// were signed: all at once, by what the newest snapshot of each claims, and before anything is produced.
func (w *work) readLinks(ctx context.Context, b *stream.Batch) error {
	var keys []string
	for _, r := range b.Records() {
		if s, v := w.tied(r); s != nil && v.Links {
			keys = append(keys, s.Resource.Key())
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	var err error
	if w.links.by, err = w.t.linker.Read(ctx, slices.Compact(keys)); err != nil {
		return err
	}
	w.links.mapped, w.links.waits, w.links.acted = map[*stream.Record]facet{}, map[string]link.Wait{}, map[string]int64{}
	signed, err := w.signed(ctx, b)
	if err != nil || len(signed) == 0 {
		return err
	}
	decided, err := w.t.linker.Decide(ctx, signed)
	for key, l := range decided {
		w.links.by[key] = l
	}
	return err
}

// tied is a record's snapshot and vendor; nil where it has none that this build knows.
func (w *work) tied(r *stream.Record) (*event.VendorSnapshot, producers.Vendor) {
	s, ok := r.Message.(*event.VendorSnapshot)
	if !ok {
		return nil, producers.Vendor{}
	}
	return s, w.t.vendors[s.Resource.Vendor]
}

// signed are the records of the batch that will have signatures, and about which nothing is decided.
func (w *work) signed(ctx context.Context, b *stream.Batch) ([]link.Record, error) {
	states, at := map[string]*held{}, map[string]int{}
	var out []link.Record
	for _, r := range b.Records() {
		s, v := w.tied(r)
		if s == nil || !v.Links || s.Gone {
			continue
		}
		key := s.Resource.Key()
		if _, decided := w.links.by[key].InForce(); decided {
			continue
		}
		if states[key] == nil {
			h := w.rows[key].held
			states[key] = &h
		}
		if h := states[key]; !h.takes(s) || !h.take(s) {
			continue
		}
		who, err := w.tenant(ctx, s.Resource.Tenant)
		if v := verdict.Of(err); v != nil && v.Kind == verdict.Hold {
			continue // an unknown tenant's, as its own turn will say
		} else if err != nil {
			return nil, err
		}
		f, err := w.facts(r, s, v, who)
		if err != nil || len(f.Signatures) == 0 {
			continue // it parks when its turn comes, or ties nothing
		}
		one := link.Record{Resource: key, Tenant: who.ID, Claims: claimsOf(s.Resource, f, who)}
		if i, ok := at[key]; ok {
			out[i] = one
			continue
		}
		at[key] = len(out)
		out = append(out, one)
	}
	return out, nil
}

// facts maps a record once.
func (w *work) facts(r *stream.Record, s *event.VendorSnapshot, v producers.Vendor, who tenant.Tenant) (producers.Facts, error) {
	if f, ok := w.links.mapped[r]; ok {
		return f.facts, f.err
	}
	f, err := facts(v.Mapper, *s, who, nil)
	w.links.mapped[r] = facet{f, err}
	return f, err
}

// passed is a snapshot that brings nothing new. It may be the one that a decision was nudged with: what
// was decided and not told yet is told, of the record as it is.
func (w *work) passed(
	ctx context.Context, s *event.VendorSnapshot, h held, v producers.Vendor, outcome, reason string,
) ([]stream.Out, error) {
	if len(w.links.by[s.Resource.Key()].Open()) == 0 || h.revision == 0 {
		w.count(v.Name, outcome)
		return nil, verdict.Skipped(reason)
	}
	who, err := w.tenant(ctx, s.Resource.Tenant)
	if err != nil {
		return nil, err
	}
	is, err := w.before(ctx, &h, v, who)
	if err != nil {
		return nil, err
	}
	w.count(v.Name, outcomeRelinked)
	return w.tell(s.Resource, h, is, is, who, false), nil
}

// waits says that a record was signed and has no deal: it is held, and the later ones of its key
// behind it.
func (w *work) waits(r *stream.Record, s *event.VendorSnapshot, v producers.Vendor, before, after producers.Facts, who tenant.Tenant) error {
	key := s.Resource.Key()
	l := w.links.by[key]
	if len(l.Open()) > 0 || l.Told() != "" || len(signatureEvents(before, after)) == 0 {
		return nil
	}
	last, undone := l.InForce()
	cause := CauseNoDeal
	if undone {
		cause = CauseUndone
	}
	w.links.waits[key] = link.Wait{
		Record: link.Record{Resource: key, Tenant: who.ID, Claims: claimsOf(s.Resource, after, who)},
		Undone: undone, Seen: last.Seq, Queued: true,
	}
	w.count(v.Name, outcomeWaiting)
	now := time.Now()
	look := min(max(now.Sub(r.Time)/lookShare, lookFirst), lookLast)
	return verdict.Held(verdict.LinkScope(key), now.Add(look), cause, nil)
}

// tell turns what is decided and not told yet into events, in the order of the decisions, whoever was
// interrupted in the middle: the signatures that are new, under the deal told last; then each decision,
// and under each deal all signatures. So a repeat says the same again, and then what came since.
func (w *work) tell(
	r event.Resource, h held, before, after producers.Facts, who tenant.Tenant, firstSight bool,
) []stream.Out {
	key := r.Key()
	l := w.links.by[key]
	t := teller{resource: r, held: h, firstSight: firstSight}
	told := l.Told()
	if told != "" {
		t.signatures(signatureEvents(before, after), l.Decisions[0], h.readAt)
	}
	for _, d := range l.Open() {
		if d.Deal == "" {
			t.unlinked(d, told)
		} else {
			t.linked(d)
			at := d.At
			if d.Seq == 1 {
				at = h.readAt
			}
			t.signatures(signatureEvents(producers.Facts{}, after), d, at)
		}
		told = d.Deal
	}
	for _, e := range t.signed {
		w.links.embeds = append(w.links.embeds, unembedded{e, *e.DealKey, who})
	}
	if last, ok := l.InForce(); ok && last.Seq > l.Acted {
		w.links.by[key] = link.Links{Acted: last.Seq, Decisions: []link.Decision{last}}
		w.links.acted[key] = last.Seq
		delete(w.links.waits, key)
		if told == "" && len(after.Signatures) > 0 { // listed for a person, though nothing is held
			w.links.waits[key] = link.Wait{
				Record: link.Record{Resource: key, Tenant: who.ID, Claims: claimsOf(r, after, who)},
				Undone: true, Seen: last.Seq,
			}
		}
	}
	return t.outs
}

// embed gives every signature of the batch its deal as it is known now, all read at once. A repeat after
// a crash may embed a newer one: who wants a deal's state reads the deal's own events.
func (w *work) embed(ctx context.Context) error {
	if len(w.links.embeds) == 0 {
		return nil
	}
	var keys []string
	for _, e := range w.links.embeds {
		keys = append(keys, e.deal)
	}
	slices.Sort(keys)
	rows, err := w.t.store.load(ctx, slices.Compact(keys))
	if err != nil {
		return err
	}
	deals := map[string]*event.Deal{}
	for _, e := range w.links.embeds {
		if _, done := deals[e.deal]; !done {
			if deals[e.deal], err = w.deal(ctx, e, rows); err != nil {
				return err
			}
		}
		e.event.Deal = deals[e.deal]
	}
	return nil
}

// deal is what is known of a deal; nil where its state cannot be read by today's code.
func (w *work) deal(ctx context.Context, e unembedded, rows map[string]held) (*event.Deal, error) {
	r, err := event.ParseKey(e.deal)
	if err != nil {
		return nil, nil //nolint:nilerr // the event names the deal all the same
	}
	h, known := rows[e.deal]
	v, ours := w.t.vendors[r.Vendor]
	if !known || !ours {
		return nil, nil
	}
	f, err := w.before(ctx, &h, v, e.who)
	return f.Deal, err
}
