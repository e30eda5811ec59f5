package tenant

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"conveyance/internal/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the tables of tenants.
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

// Schema is the Postgres schema that all processes share: tenants, budgets, the fleet.
const Schema = "conveyance"

const (
	// lookEvery and lookTimeout together stay below RefreshAfter.
	lookEvery   = 1500 * time.Millisecond
	lookTimeout = 900 * time.Millisecond
	// writeTimeout of a note that a call's outcome leaves behind.
	writeTimeout = 2 * time.Second
)

// Store is the tenants in Postgres, and a process's view of them. It is safe for concurrent use. It
// is a prometheus.Collector of the view's age.
type Store struct {
	pool   *pgxpool.Pool
	schema string
	sealer Sealer

	view    atomic.Pointer[view]
	looking sync.Mutex
	stop    context.CancelFunc
	stopped chan struct{}

	staleReads, failedLooks, failedNotes prometheus.Counter
}

// view is what readers get; it never changes.
type view struct {
	at    time.Time
	known *known
}

var (
	_ Directory            = (*Store)(nil)
	_ prometheus.Collector = (*Store)(nil)
)

// Open reads all tenants once and goes on looking for changes until Close. sealer may be nil: the
// process then sees no credentials and no pseudonym keys, and cannot apply. A key that opens none of
// the stored secrets is ErrSealed.
func Open(ctx context.Context, pool *pgxpool.Pool, schema string, sealer Sealer) (*Store, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	s := &Store{
		pool: pool, schema: schema, sealer: sealer, stopped: make(chan struct{}),
		staleReads:  counter("conveyance_tenant_stale_reads_total", "Reads of tenants that were answered from a view older than it should be."),
		failedLooks: counter("conveyance_tenant_failed_looks_total", "Looks for changed tenants that Postgres did not answer."),
		failedNotes: counter("conveyance_tenant_failed_notes_total", "Notes on an account's health that could not be written."),
	}
	k, err := s.load(ctx, pool, postgres.Timeouts())
	if err != nil {
		return nil, err
	}
	if k.sealed > 0 && k.opened == 0 {
		return nil, ErrSealed
	}
	s.view.Store(&view{at: time.Now(), known: k})
	looks, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go s.look(looks)
	return s, nil
}

// Close ends the looking; reads go on from the last view. It may be called twice.
func (s *Store) Close() {
	s.stop()
	<-s.stopped
}

// Tenant implements Directory. While Postgres is away it answers from the last view.
func (s *Store) Tenant(_ context.Context, id string) (Tenant, error) {
	t, ok := s.current().tenants[id]
	if !ok {
		return Tenant{}, fmt.Errorf("tenant %q: %w", id, ErrUnknown)
	}
	return t.clone(), nil
}

// Tenants implements Directory.
func (s *Store) Tenants(context.Context) ([]Tenant, error) {
	k := s.current()
	all := make([]Tenant, 0, len(k.order))
	for _, id := range k.order {
		all = append(all, k.tenants[id].clone())
	}
	return all, nil
}

// Age is how old the view is; readiness looks at it.
func (s *Store) Age() time.Duration { return time.Since(s.view.Load().at) }

func (s *Store) current() *known {
	v := s.view.Load()
	if time.Since(v.at) > RefreshAfter {
		s.staleReads.Inc()
	}
	return v.known
}

func (s *Store) look(ctx context.Context) {
	defer close(s.stopped)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.see(ctx)
		}
	}
}

// see refreshes the view, also after this process changed something. What fails is looked for again.
func (s *Store) see(ctx context.Context) {
	if s.refresh(ctx) != nil && ctx.Err() == nil {
		s.failedLooks.Inc()
	}
}

// refresh makes the view younger than the call.
func (s *Store) refresh(ctx context.Context) error { return s.refreshSince(ctx, time.Now()) }

// refreshSince makes the view younger than an instant, by a look of its own or by one that it waited
// for.
func (s *Store) refreshSince(ctx context.Context, since time.Time) error {
	s.looking.Lock()
	defer s.looking.Unlock()
	if s.view.Load().at.After(since) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	began := time.Now()
	before := s.view.Load().known
	var change int64
	if err := s.pool.QueryRow(ctx, postgres.In(s.schema, sqlChange)).Scan(&change); err != nil {
		return fmt.Errorf("looking for changed tenants: %w", err)
	}
	if change == before.change {
		s.view.Store(&view{at: began, known: before})
		return nil
	}
	k, err := s.load(ctx, s.pool, &pgx.Batch{})
	if err != nil {
		return err
	}
	s.view.Store(&view{at: began, known: k})
	return nil
}

// Describe implements prometheus.Collector.
func (s *Store) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, ch) }

// Collect implements prometheus.Collector.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	age := prometheus.NewDesc("conveyance_tenant_view_age_seconds", "How old this process's view of the tenants is.", nil, nil)
	ch <- prometheus.MustNewConstMetric(age, prometheus.GaugeValue, s.Age().Seconds())
	for _, c := range []prometheus.Counter{s.staleReads, s.failedLooks, s.failedNotes} {
		c.Collect(ch)
	}
}

// clone gives the holder what it owns.
func (t *stored) clone() Tenant {
	c := t.Tenant
	c.PseudonymKey = bytes.Clone(t.PseudonymKey)
	c.Accounts = slices.Clone(t.Accounts)
	for i := range c.Accounts {
		c.Accounts[i].Settings = bytes.Clone(t.Accounts[i].Settings)
		c.Accounts[i].Credential.Fields = maps.Clone(t.Accounts[i].Credential.Fields)
	}
	c.Adapters = maps.Clone(t.Adapters)
	for name, a := range c.Adapters {
		a.Settings = bytes.Clone(a.Settings)
		c.Adapters[name] = a
	}
	return c
}
