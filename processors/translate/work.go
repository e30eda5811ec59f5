package translate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/avro/wire"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/processors/link"
	"conveyance/producers"
)

// work is one batch being translated: a copy of what is held, which becomes what is remembered when
// it is committed.
type work struct {
	t         *Translator
	topic     string
	partition int32
	rows      map[string]*row // of every record of the batch
	of        []*row          // of the batch's records; nil where one is no snapshot
	changed   []*row          // to be written, in order
	bodies    []byte          // of changed, packed, behind one another
	revisions []revised
	outcomes  map[outcome]int
	drift     map[drifted]int
	claims    map[string]link.Deal // of deals whose claims are not those that were written
	links     links
}

// outcome is what a snapshot of a vendor came to.
type outcome struct{ vendor, what string }

// read takes what is remembered, and reads the rest in one statement.
func (w *work) read(ctx context.Context, b *stream.Batch) error {
	var missing []string
	for i, r := range b.Records() {
		s, ok := r.Message.(*event.VendorSnapshot)
		if !ok {
			continue
		}
		key := s.Resource.Key()
		if w.rows[key] == nil {
			h, known := w.t.memory.get(w.place(key))
			if !known {
				missing = append(missing, key)
			}
			w.rows[key] = &row{key: key, held: h}
		}
		w.of[i] = w.rows[key]
	}
	if len(missing) == 0 {
		return nil
	}
	stored, err := w.t.store.load(ctx, missing)
	if err != nil {
		return err
	}
	for key, h := range stored {
		h.cost = len(h.body) * packedFactor * costFactor
		w.rows[key].held = h
	}
	return nil
}

func (w *work) place(key string) place { return place{w.topic, w.partition, key} }

// translate brings one record to its outputs, or to the verdict that it has none.
func (w *work) translate(ctx context.Context, r *stream.Record, to *row) ([]stream.Out, error) {
	s, ok := r.Message.(*event.VendorSnapshot)
	if !ok {
		return nil, verdict.Skipped("no snapshot")
	}
	key := to.key
	if string(r.Key) != key {
		return nil, verdict.Parked("record key is not its resource",
			fmt.Errorf("translating %s: it came under another key", key))
	}
	vendor, ok := w.t.vendors[s.Resource.Vendor]
	if !ok {
		return nil, verdict.Parked("vendor unknown to this build",
			fmt.Errorf("translating %s: no vendor %s", key, s.Resource.Vendor))
	}
	was := to.held
	if !was.takes(s) {
		return w.passed(ctx, s, was, vendor, "older", "older than what is held")
	}
	is := was
	if !is.take(s) {
		w.put(to, is, nil)
		return w.passed(ctx, s, is, vendor, "unchanged", "unchanged")
	}
	who, err := w.tenant(ctx, s.Resource.Tenant)
	if err != nil {
		return nil, err
	}
	before, err := w.before(ctx, &was, vendor, who)
	if err != nil {
		return nil, err
	}
	after, err := w.after(r, s, before, vendor, who)
	if err != nil {
		return nil, err
	}
	if vendor.Links {
		if err := w.waits(r, s, vendor, before, after, who); err != nil {
			return nil, err
		}
	}
	w.accept(s, vendor, &after)
	w.claim(s.Resource, &was, &is, before, after, who)
	is.facts = &after
	value := r.Value
	if s.Gone {
		value = nil // the last content stays
	} else {
		is.cost = len(value) * costFactor
	}
	w.put(to, is, value)
	w.revisions = append(w.revisions, revised{key, s.Token, is.revision})
	if vendor.Links {
		return w.tell(s.Resource, is, before, after, who, was.revision == 0), nil
	}
	return outs(Diff(before, after), s, r.Key, is.revision, was.revision == 0), nil
}

// tenant returns whom a record belongs to. One whom nobody knows is held: the file comes later.
func (w *work) tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	who, err := w.t.tenants.Tenant(ctx, id)
	if errors.Is(err, tenant.ErrUnknown) {
		return who, verdict.Held(verdict.TenantScope(id), time.Now().Add(tenantLook), "unknown tenant", err)
	}
	if err != nil {
		return who, fmt.Errorf("looking tenant %s up: %w", id, err)
	}
	return who, nil
}

// before is what the record that is held says by today's mapping. One that today's mapping no longer
// takes is treated as not known: the events then tell all of the new state, under the ids that they
// would have had anyway.
func (w *work) before(
	ctx context.Context, h *held, v producers.Vendor, who tenant.Tenant,
) (producers.Facts, error) {
	if h.facts != nil {
		return *h.facts, nil
	}
	if len(h.body) == 0 {
		return producers.Facts{}, nil
	}
	var m event.Message
	value, err := unpack(h.body)
	if err == nil {
		m, err = w.t.codec.Decode(ctx, value)
	}
	switch {
	case errors.Is(err, wire.ErrUnavailable):
		return producers.Facts{}, verdict.Stalled("schema registry unavailable", err)
	case ctx.Err() != nil:
		return producers.Facts{}, context.Cause(ctx)
	}
	f, ok := again(v.Mapper, m, who)
	if !ok {
		w.count(v.Name, "before unreadable")
	}
	if h.gone() {
		f = gone(f)
	}
	return f, nil
}

// again maps what was accepted once; false where that is no longer possible.
func again(mapper producers.Mapper, m event.Message, who tenant.Tenant) (producers.Facts, bool) {
	s, ok := m.(*event.VendorSnapshot)
	if !ok {
		return producers.Facts{}, false
	}
	f, err := facts(mapper, *s, who, nil)
	if err != nil {
		return producers.Facts{}, false
	}
	return f, true
}

// after is what the snapshot says.
func (w *work) after(
	r *stream.Record, s *event.VendorSnapshot, before producers.Facts, v producers.Vendor, who tenant.Tenant,
) (producers.Facts, error) {
	switch {
	case s.Gone:
		return gone(before), nil
	case v.Links:
		return w.facts(r, s, v, who)
	}
	return facts(v.Mapper, *s, who, before.Deal)
}

// accept counts a snapshot that becomes the state, and what of it is strange.
func (w *work) accept(s *event.VendorSnapshot, v producers.Vendor, f *producers.Facts) {
	if s.Gone {
		w.count(v.Name, "gone")
		return
	}
	w.count(v.Name, "changed")
	for _, d := range f.Drift {
		w.drift[driftOf(v.Name, d)]++
	}
	f.Drift = nil // not of the state
}

func (w *work) count(vendor, what string) { w.outcomes[outcome{vendor, what}]++ }

// put makes h what later records of the batch find, and value the snapshot that is kept; nil = the
// one that is there.
func (w *work) put(to *row, h held, value []byte) {
	if !to.changed {
		to.changed = true
		w.changed = append(w.changed, to)
	}
	if value != nil {
		to.value = value
	}
	to.held = h
}

// commit writes what changed, and only then remembers and counts it. A transaction that comes to
// nothing makes the engine call Forget.
func (w *work) commit(ctx context.Context, tx pgx.Tx) error {
	if len(w.changed) > 0 {
		if err := w.t.store.save(ctx, tx, w.changed, w.bodies, w.revisions); err != nil {
			return err
		}
	}
	if c := w.changes(); len(c.Deals)+len(c.Waits)+len(c.Acted) > 0 {
		if err := w.t.linker.Write(ctx, tx, c); err != nil {
			return err
		}
	}
	if w.drift = w.t.drifts.bound(w.drift); len(w.drift) > 0 { // last: its rows are every partition's
		if err := w.t.store.drift(ctx, tx, w.drift); err != nil {
			return err
		}
	}
	for _, r := range w.changed {
		w.t.memory.put(w.place(r.key), r.held)
	}
	if w.outcomes != nil { // a transaction may be repeated
		w.t.metrics.count(w.outcomes, w.drift)
		w.outcomes = nil
	}
	return nil
}
