// Package translate turns facts into meaning: it reads vendors' snapshots and emits the canonical
// events that lie between the snapshot before and the snapshot now. It is vendor-free: a vendor's
// folder maps one snapshot, Diff is written once.
//
// It alone decides order (protocol.md 14-16). A snapshot is accepted by version and token, never
// because it came last; the revision counts the accepted changes of content and moves with the
// offset; an event's id is made of the revision, so that translating the same log again, after a
// crash or a mended mapping, gives the same ids. The snapshot before is kept, not its meaning: both
// sides are mapped with today's code, so that a mended mapping emits nothing by itself.
//
// What it never does: call a vendor, compare a vendor's clock with another, or let one record that
// cannot be mapped stop any but the later ones of the same key.
package translate

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"conveyance/avro/event"
	"conveyance/avro/wire"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the stage's tables.
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

// Schema is the Postgres schema where Config names no other.
const Schema = "translate"

// tenantLook is when records of a tenant that nobody knows are looked at again: a tenant file that is
// applied late is a matter of minutes.
const tenantLook = time.Minute

// Config of the stage. Zero values are replaced by the defaults that their comments name.
type Config struct {
	// Schema is the Postgres schema. Default Schema.
	Schema string
}

// Deps are what the stage works with. It closes none of them.
type Deps struct {
	Pool    *pgxpool.Pool
	Codec   *wire.Codec // reads the snapshots that it kept
	Tenants tenant.Directory
	Vendors []producers.Vendor
	Metrics prometheus.Registerer // nil = none
}

// Translator is the stage's handler, for snapshots topics. Partitions may be handled side by side.
type Translator struct {
	store   store
	codec   *wire.Codec
	tenants tenant.Directory
	vendors map[string]producers.Vendor
	memory  *memory
	metrics *metrics
}

var (
	_ stream.BatchHandler = (*Translator)(nil)
	_ stream.Forgetter    = (*Translator)(nil)
)

// New returns the handler. It reads and writes nothing yet.
func New(cfg Config, deps Deps) (*Translator, error) {
	if cfg.Schema == "" {
		cfg.Schema = Schema
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of translate: %w", err)
	}
	t := &Translator{
		store: tables{deps.Pool, cfg.Schema}, codec: deps.Codec, tenants: deps.Tenants,
		vendors: map[string]producers.Vendor{}, memory: newMemory(), metrics: m,
	}
	for _, v := range deps.Vendors {
		t.vendors[v.Name] = v
	}
	return t, nil
}

// Handle translates a batch against what was committed before it. What it learns is remembered only
// in the transaction that moves the offset (protocol.md 9).
func (t *Translator) Handle(ctx context.Context, b *stream.Batch) error {
	w := &work{t: t, topic: b.Topic(), partition: b.Partition(), held: map[string]*held{}, bodies: map[string][]byte{}}
	if err := w.read(ctx, b); err != nil {
		return err
	}
	for i, r := range b.Records() {
		outs, err := w.translate(ctx, r)
		v := verdict.Of(err)
		switch {
		case v == nil:
			b.Emit(i, outs...)
		case v.Kind == verdict.Skip, v.Kind == verdict.Hold, v.Kind == verdict.Park:
			b.Give(i, err)
		default:
			return err
		}
	}
	for key, value := range w.bodies {
		if value != nil {
			w.bodies[key] = pack(value)
		}
	}
	if len(w.outcomes) > 0 {
		b.Commit(w.commit)
	}
	return nil
}

// Forget drops what is remembered of a partition.
func (t *Translator) Forget(topic string, partition int32) { t.memory.forget(topic, partition) }

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
		return nil, verdict.Parked("record key is not its resource", fmt.Errorf("translating %s: it came under another key", key))
	}
	vendor, ok := w.t.vendors[s.Resource.Vendor]
	if !ok {
		return nil, verdict.Parked("vendor unknown to this build", fmt.Errorf("translating %s: no vendor %s", key, s.Resource.Vendor))
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
func (w *work) before(ctx context.Context, h *held, v producers.Vendor, who tenant.Tenant) (producers.Facts, error) {
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
func (w *work) after(s *event.VendorSnapshot, before producers.Facts, v producers.Vendor, who tenant.Tenant) (producers.Facts, error) {
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
