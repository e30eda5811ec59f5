// Package fetch turns hints into facts: it knows every vendor record that was ever named, reads those
// that may have changed, and puts the answers on the snapshots topic, whole.
//
// Three loops meet in one row per record. Intake marks what webhooks name as dirty. Pollers walk the
// vendors' lists of changes, one poller per account at a time. Workers take dirty rows, live before
// backfill and account by account, read them at the vendor and publish what they read.
//
// What it guarantees (protocol.md 18-23; the numbers stand at the code that obeys them): after the
// last change of a record, once its hint or the next poll has come, the snapshot that translate
// accepts is the vendor's state of a moment after that change; until then the row is dirty, and says
// why. A busy, failing or refused account keeps only its own rows waiting. What it never does: join a
// hint to a call in flight, call a vendor inside a transaction, drop an answer because it arrived
// late, or promise that the topic is in order (translate alone decides that).
package fetch

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the stage's tables.
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

// Schema is the Postgres schema where Config names no other.
const Schema = "fetch"

const (
	// concurrencyDefault is how many records one process reads at once: at 300 ms a call that is 50
	// records a second, above the quota of any one vendor account, with three connections to Postgres.
	concurrencyDefault = 16
	// pollsDefault is how many accounts one process polls at once: 300 accounts every minute at 1 s a
	// page are 5 at a time.
	pollsDefault = 8
)

// Publisher produces snapshots and awaits their acks; *stream.Publisher is the one that does.
type Publisher interface {
	Publish(ctx context.Context, outs ...stream.Out) error
}

// Config of the stage. Zero values are replaced by the defaults that their comments name.
type Config struct {
	// Schema is the Postgres schema. Default Schema.
	Schema string
	// Concurrency is how many records this process reads at once. Default 16.
	Concurrency int
	// Polls is how many accounts this process polls at once. Default 8.
	Polls int
	// Now is the clock of every due time and lease. Default time.Now.
	Now func() time.Time
	// Jitter returns a number in [0, 1) that spreads retries and polls. Default: a random one.
	Jitter func() float64
}

// Deps are what the stage works with. It closes none of them.
type Deps struct {
	Pool    *pgxpool.Pool
	Publish Publisher
	Tenants tenant.Directory
	Vendors []producers.Vendor
	Log     *zap.Logger
	Metrics prometheus.Registerer // nil = none
}

// Fetch is the stage of one process. It starts nothing by itself: its intake, workers and pollers
// run where their Handle and Run are called, in one process or in several.
type Fetch struct {
	cfg     Config
	store   store
	publish Publisher
	tenants tenant.Directory
	vendors map[string]producers.Vendor
	log     *zap.Logger
	metrics *metrics
	dirtied chan struct{} // pollers wake the workers of their process
}

// New returns the stage. It reads and writes nothing yet.
func New(cfg Config, deps Deps) (*Fetch, error) {
	if cfg.Schema == "" {
		cfg.Schema = Schema
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = concurrencyDefault
	}
	if cfg.Polls <= 0 {
		cfg.Polls = pollsDefault
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of fetch: %w", err)
	}
	f := &Fetch{
		cfg:     cfg,
		store:   store{deps.Pool, cfg.Schema},
		publish: deps.Publish,
		tenants: deps.Tenants,
		vendors: map[string]producers.Vendor{},
		log:     deps.Log,
		metrics: m,
		dirtied: make(chan struct{}, 1),
	}
	for _, v := range deps.Vendors {
		if _, twice := f.vendors[v.Name]; twice {
			return nil, fmt.Errorf("vendor %s is registered twice", v.Name)
		}
		f.vendors[v.Name] = v
	}
	return f, nil
}

// again is a vendor's rule for how often one record may be read.
func (f *Fetch) again(vendor string) time.Duration { return f.vendors[vendor].Again }

// wakeWorkers says that rows became dirty. It never blocks.
func (f *Fetch) wakeWorkers() {
	select {
	case f.dirtied <- struct{}{}:
	default:
	}
}

const (
	causeUnknownTenant  = "tenant unknown"
	causeUnknownAccount = "account missing"
	causeTenantPaused   = "tenant paused"
	causeAccountPaused  = "account paused"
)

// lookup returns an account as it is configured now, and why it must not be called: paused, or nobody
// has it. An error is a failure to look.
func lookup(ctx context.Context, d tenant.Directory, who account) (a tenant.Account, shut string, err error) {
	t, err := d.Tenant(ctx, who.tenant)
	if errors.Is(err, tenant.ErrUnknown) {
		return a, causeUnknownTenant, nil
	}
	if err != nil {
		return a, "", fmt.Errorf("looking up tenant %s: %w", who.tenant, err)
	}
	a, ok := t.Account(who.vendor, who.name)
	switch {
	case !ok:
		return a, causeUnknownAccount, nil
	case t.Paused:
		return a, causeTenantPaused, nil
	case a.Paused:
		return a, causeAccountPaused, nil
	}
	return a, "", nil
}
