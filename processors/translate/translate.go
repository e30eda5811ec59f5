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
// What holds of its output is protocol.md 11: every event of what lies before the stored offset is
// there, equal ids hold equal content, and the first of each id come in order per resource. That no old
// event follows a new one does not hold: a crash repeats some.
//
// Records of a vendor that Links, envelopes for example, are no deals: they are tied to one by
// processors/link. One that was signed and has no deal waits in the queue until a deal shares its
// claims or a person says which; a decision is committed before its events are produced, and each is
// told once, in order, whoever was interrupted (protocol.md 8, 9, 39).
//
// What it never does: call a vendor, compare a vendor's clock with another, or let one record that
// cannot be mapped stop any but the later ones of the same key.
package translate

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"conveyance/avro/wire"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/processors/link"
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
	Log     *zap.Logger           // nil = none
}

// Translator is the stage's handler, for snapshots topics. Partitions may be handled side by side.
type Translator struct {
	store   store
	linker  linker
	codec   *wire.Codec
	tenants tenant.Directory
	vendors map[string]producers.Vendor
	memory  *memory
	metrics *metrics
	drifts  *drifts
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
		store: tables{deps.Pool, cfg.Schema}, linker: link.New(deps.Pool, cfg.Schema), codec: deps.Codec,
		tenants: deps.Tenants, vendors: map[string]producers.Vendor{}, memory: newMemory(), metrics: m,
		drifts: &drifts{log: cmp.Or(deps.Log, zap.NewNop()), seen: map[drifted]bool{}},
	}
	for _, v := range deps.Vendors {
		t.vendors[v.Name] = v
	}
	return t, nil
}

// Handle translates a batch against what was committed before it. What it learns is remembered only
// in the transaction that moves the offset (protocol.md 9).
func (t *Translator) Handle(ctx context.Context, b *stream.Batch) error {
	w := &work{
		t: t, topic: b.Topic(), partition: b.Partition(),
		rows: map[string]*row{}, of: make([]*row, len(b.Results())),
		outcomes: map[outcome]int{}, drift: map[drifted]int{}, claims: map[string]link.Deal{},
	}
	if err := w.read(ctx, b); err != nil {
		return err
	}
	if err := w.readLinks(ctx, b); err != nil {
		return err
	}
	for i, r := range b.Records() {
		outs, err := w.translate(ctx, r, w.of[i])
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
	if err := w.embed(ctx); err != nil {
		return err
	}
	w.bodies = pack(w.changed)
	if len(w.outcomes) > 0 {
		b.Commit(w.commit)
	}
	return nil
}

// Forget drops what is remembered of a partition.
func (t *Translator) Forget(topic string, partition int32) { t.memory.forget(topic, partition) }
