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
	"conveyance/producers"
)

// work is one batch being translated: a copy of what is held, which becomes what is remembered when
// it is committed.
type work struct {
	t         *Translator
	topic     string
	partition int32
	held      map[string]*held  // of every record of the batch
	changed   []string          // whose row is written, once each, in order
	bodies    map[string][]byte // snapshots that replace those that are kept; packed at the end
	revisions []revised
	outcomes  [][2]string // vendor and outcome
	drift     []drifted
}

// read takes what is remembered, and reads the rest in one statement.
func (w *work) read(ctx context.Context, b *stream.Batch) error {
	var missing []string
	for _, r := range b.Records() {
		s, ok := r.Message.(*event.VendorSnapshot)
		if !ok {
			continue
		}
		key := s.Resource.Key()
		if w.held[key] != nil {
			continue
		}
		h, known := w.t.memory.get(w.place(key))
		if !known {
			missing = append(missing, key)
		}
		w.held[key] = &h
	}
	if len(missing) == 0 {
		return nil
	}
	rows, err := w.t.store.load(ctx, missing)
	if err != nil {
		return err
	}
	for key, h := range rows {
		h.cost = len(h.body) * packedFactor * costFactor
		*w.held[key] = h
	}
	return nil
}

func (w *work) place(key string) place { return place{w.topic, w.partition, key} }

// translate brings one record to its outputs, or to the verdict that it has none.
func (w *work) translate(ctx context.Context, r *stream.Record) ([]stream.Out, error) {
	s, ok := r.Message.(*event.VendorSnapshot)
	if !ok {
		return nil, verdict.Skipped("no snapshot")
	}
	key := s.Resource.Key()
	if string(r.Key) != key {
		return nil, verdict.Parked("record key is not its resource",
			fmt.Errorf("translating %s: it came under another key", key))
	}
	vendor, ok := w.t.vendors[s.Resource.Vendor]
	if !ok {
		return nil, verdict.Parked("vendor unknown to this build",
			fmt.Errorf("translating %s: no vendor %s", key, s.Resource.Vendor))
	}
	was := *w.held[key]
	if !was.takes(s) {
		w.count(vendor.Name, "older")
		return nil, verdict.Skipped("older than what is held")
	}
	is := was
	if !is.take(s) {
		w.put(key, is, nil)
		w.count(vendor.Name, "unchanged")
		return nil, verdict.Skipped("unchanged")
	}
	who, err := w.tenant(ctx, s.Resource.Tenant)
	if err != nil {
		return nil, err
	}
	before, err := w.before(ctx, &was, vendor, who)
	if err != nil {
		return nil, err
	}
	after, err := w.after(s, before, vendor, who)
	if err != nil {
		return nil, err
	}
	is.facts = &after
	value := r.Value
	if s.Gone {
		value = nil // the last content stays
	} else {
		is.cost = len(value) * costFactor
	}
	w.put(key, is, value)
	w.revisions = append(w.revisions, revised{key, s.Token, is.revision})
	return outs(Diff(before, after), s, is.revision, was.revision == 0), nil
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
	s *event.VendorSnapshot, before producers.Facts, v producers.Vendor, who tenant.Tenant,
) (producers.Facts, error) {
	if s.Gone {
		w.count(v.Name, "gone")
		return gone(before), nil
	}
	f, err := facts(v.Mapper, *s, who, before.Deal)
	if err != nil {
		return f, err
	}
	w.count(v.Name, "changed")
	for _, d := range f.Drift {
		w.drift = append(w.drift, drifted{v.Name, d})
	}
	f.Drift, f.Claims = nil, nil // not of the state
	return f, nil
}

func (w *work) count(vendor, outcome string) {
	w.outcomes = append(w.outcomes, [2]string{vendor, outcome})
}

// put makes h what later records of the batch find.
func (w *work) put(key string, h held, value []byte) {
	if _, written := w.bodies[key]; !written {
		w.changed = append(w.changed, key)
		w.bodies[key] = nil
	}
	if value != nil {
		w.bodies[key] = value
	}
	*w.held[key] = h
}

// commit writes what changed, and only then remembers and counts it. A transaction that comes to
// nothing makes the engine call Forget.
func (w *work) commit(ctx context.Context, tx pgx.Tx) error {
	rows := make([]row, len(w.changed))
	for i, key := range w.changed {
		rows[i] = row{key, *w.held[key], w.bodies[key]}
	}
	if len(rows) > 0 {
		if err := w.t.store.save(ctx, tx, rows, w.revisions); err != nil {
			return err
		}
	}
	for _, r := range rows {
		w.t.memory.put(w.place(r.key), r.held)
	}
	for _, o := range w.outcomes {
		w.t.metrics.snapshots.WithLabelValues(o[0], o[1]).Inc()
	}
	w.t.metrics.drifts(w.drift)
	w.outcomes, w.drift = nil, nil // a transaction may be repeated
	return nil
}
