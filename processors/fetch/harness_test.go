package fetch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"conveyance/avro/event"
	"conveyance/internal/budget"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
	"conveyance/producers"
)

func TestMain(m *testing.M) {
	// The pool of testkit's server and its child live as long as the test binary.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).watchCtx"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"))
}

// clock is a time that only tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// topicLog is a Publisher that keeps what it was given. before, where set, may refuse or wait.
type topicLog struct {
	mu     sync.Mutex
	snaps  []event.VendorSnapshot
	before func(s *event.VendorSnapshot) error
}

func (l *topicLog) Publish(_ context.Context, outs ...stream.Out) error {
	for _, o := range outs {
		s := o.Message.(*event.VendorSnapshot)
		if l.before != nil {
			if err := l.before(s); err != nil {
				return err
			}
		}
		l.mu.Lock()
		l.snaps = append(l.snaps, *s)
		l.mu.Unlock()
	}
	return nil
}

func (l *topicLog) all() []event.VendorSnapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.snaps)
}

// accepted is what translate makes of a log (protocol.md 16): nil where nothing was accepted.
func accepted(log []event.VendorSnapshot, r event.Resource) *event.VendorSnapshot {
	var now *event.VendorSnapshot
	var version, token, goneToken int64
	for _, s := range log {
		switch {
		case s.Resource != r:
		case s.Gone && s.Token > token:
			now, version, token, goneToken = &s, 0, s.Token, s.Token
		case !s.Gone && s.Token > goneToken && (s.Version > version || s.Version == version && s.Token > token):
			now, version, token = &s, s.Version, s.Token
		}
	}
	return now
}

// state is one record at the vendor of the tests.
type state struct {
	version int64
	body    string
	rest    string // what webhooks leave out
	gone    bool
}

func (s state) snapshot(r event.Resource) event.VendorSnapshot {
	if s.gone {
		return event.VendorSnapshot{Resource: r, Gone: true, Version: s.version}
	}
	parts := []event.Part{{Name: "record", Status: 200, Body: []byte(s.body)}}
	if s.rest != "" {
		parts = append(parts, event.Part{Name: "rest", Status: 200, Body: []byte(s.rest)})
	}
	return event.VendorSnapshot{Resource: r, Version: s.version, Parts: parts, Digest: producers.Digest(parts)}
}

// vendor is the vendor of the tests, through the interfaces that a vendor's folder implements.
type vendor struct {
	mu      sync.Mutex
	records map[event.Resource]state
	calls   []event.Resource
	fetch   func(ctx context.Context, r event.Resource) (event.VendorSnapshot, error) // nil = the record as it is
	poll    func(ctx context.Context, a tenant.Account, since producers.Cursor, yield func(producers.Change) error) (producers.Cursor, error)
}

func (v *vendor) set(r event.Resource, s state) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.records[r] = s
}

func (v *vendor) get(r event.Resource) state {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.records[r]
	if !ok {
		s.gone = true
	}
	return s
}

func (v *vendor) called() []event.Resource {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.calls)
}

func (v *vendor) Fetch(ctx context.Context, _ tenant.Account, r event.Resource) (event.VendorSnapshot, error) {
	v.mu.Lock()
	v.calls = append(v.calls, r)
	v.mu.Unlock()
	if v.fetch != nil {
		return v.fetch(ctx, r)
	}
	return v.get(r).snapshot(r), nil
}

func (v *vendor) Poll(
	ctx context.Context, a tenant.Account, since producers.Cursor, yield func(producers.Change) error,
) (producers.Cursor, error) {
	return v.poll(ctx, a, since, yield)
}

// partial is the record as a webhook holds it.
func (s state) partial(r event.Resource) event.VendorSnapshot {
	p := state{version: s.version, body: s.body}.snapshot(r)
	p.Digest = ""
	return p
}

// completer keeps the part that webhooks leave out.
type completer struct{}

func (completer) Keep(s event.VendorSnapshot) []byte {
	if len(s.Parts) < 2 {
		return nil
	}
	return s.Parts[1].Body
}

func (completer) Complete(p event.VendorSnapshot, kept []byte) (event.VendorSnapshot, bool) {
	if strings.HasPrefix(string(kept), "unfit") {
		return event.VendorSnapshot{}, false
	}
	return state{version: p.Version, body: string(p.Parts[0].Body), rest: string(kept)}.snapshot(p.Resource), true
}

// webhook reads deliveries of the tests: their body is a body of JSON.
type webhook struct{ producers.Webhook }

type delivery struct {
	Account string   `json:"account,omitempty"`
	IDs     []string `json:"ids"`
	Version int64    `json:"version,omitempty"` // with a record: the first id's
	Record  string   `json:"record,omitempty"`
	Gone    bool     `json:"gone,omitempty"`
	Partial string   `json:"partial,omitempty"` // a record that is not whole
}

func (webhook) Hints(body []byte) (producers.Delivery, error) {
	var d delivery
	if err := json.Unmarshal(body, &d); err != nil {
		return producers.Delivery{}, fmt.Errorf("parsing the delivery: %w", err)
	}
	out := producers.Delivery{Account: d.Account}
	for _, id := range d.IDs {
		out.Resources = append(out.Resources, event.Resource{Kind: "sale", ID: id})
	}
	if d.Record != "" || d.Gone {
		s := state{version: d.Version, body: d.Record, gone: d.Gone}.snapshot(out.Resources[0])
		out.Fact = &s
	}
	if d.Partial != "" {
		s := state{version: d.Version, body: d.Partial}.partial(out.Resources[0])
		out.Partial = &s
	}
	return out, nil
}

// directory is a fixed list of tenants that tests may change.
type directory struct {
	mu  sync.Mutex
	all map[string]tenant.Tenant
}

func (d *directory) Tenant(_ context.Context, id string) (tenant.Tenant, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, ok := d.all[id]
	if !ok {
		return t, tenant.ErrUnknown
	}
	return t, nil
}

func (d *directory) Tenants(context.Context) ([]tenant.Tenant, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []tenant.Tenant
	for _, t := range d.all {
		all = append(all, t)
	}
	return all, nil
}

func (d *directory) add(id string, change func(*tenant.Tenant)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := tenant.Tenant{ID: id, Accounts: []tenant.Account{{Tenant: id, Vendor: "acme", Name: "main", ExternalID: "ext-" + id}}}
	if change != nil {
		change(&t)
	}
	d.all[id] = t
}

// bench is the stage with everything around it, and one tenant, lakeshore.
type bench struct {
	*Fetch
	desk    *Desk
	clock   *clock
	log     *topicLog
	vendor  *vendor
	tenants *directory
	metrics *prometheus.Registry
}

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	pool, schema := testkit.Schema(t)
	m := postgres.Migrations{Schema: schema, Set: "own", Files: Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	b := &bench{
		clock:   &clock{at: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)},
		log:     &topicLog{},
		vendor:  &vendor{records: map[event.Resource]state{}},
		tenants: &directory{all: map[string]tenant.Tenant{}},
		metrics: prometheus.NewRegistry(),
	}
	b.tenants.add("lakeshore", nil)
	b.desk = NewDesk(pool, schema, b.tenants, b.clock.now)
	cfg := Config{Schema: schema, Now: b.clock.now, Jitter: func() float64 { return 0.5 }}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	b.Fetch, err = New(cfg, Deps{
		Pool: pool, Publish: b.log, Tenants: b.tenants, Log: testkit.Log(t), Metrics: b.metrics,
		Vendors: []producers.Vendor{{
			Name: "acme", Webhook: webhook{}, Fetcher: b.vendor, Poller: b.vendor, Completer: completer{}, PollEvery: time.Minute,
		}},
	})
	require.NoError(t, err)
	return b
}

func sale(id string) event.Resource { return saleOf("lakeshore", id) }

func saleOf(tenantID, id string) event.Resource {
	return event.Resource{Tenant: tenantID, Vendor: "acme", Account: "main", Kind: "sale", ID: id}
}

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	require.TestingT
	Helper()
	Context() context.Context
}

// hint marks resources dirty, as a webhook without a body does.
func (b *bench) hint(t tester, rs ...event.Resource) {
	t.Helper()
	_, err := b.desk.MarkDirty(t.Context(), rs, "live", "test")
	require.NoError(t, err)
}

// takeAll leases every due row of lakeshore, as a worker does.
func (b *bench) takeAll(t testing.TB) []job {
	t.Helper()
	who := account{"lakeshore", "acme", "main"}
	jobs, err := b.store.take(t.Context(), []share{{who, live, 1000}, {who, backfill, 1000}}, b.again, b.clock.now(), rowLease)
	require.NoError(t, err)
	return jobs
}

func (b *bench) takeOne(t testing.TB) job {
	t.Helper()
	jobs := b.takeAll(t)
	require.Len(t, jobs, 1)
	return jobs[0]
}

// call is the first half of a worker's work: the call at the vendor.
func (b *bench) call(t testing.TB, j job) *event.VendorSnapshot {
	t.Helper()
	s, err := b.read(t.Context(), b.vendors["acme"], j, tenant.Account{})
	require.NoError(t, err)
	return s
}

// finish is the second half: publish and settle. It returns the outcome.
func (b *bench) finish(t testing.TB, j job, s *event.VendorSnapshot) string {
	t.Helper()
	end := b.pass(t.Context(), j, s)
	b.settle(t.Context(), j, &end)
	return end.outcome
}

// run reads everything that is due, and returns the outcomes.
func (b *bench) run(t testing.TB) []string {
	t.Helper()
	var outcomes []string
	for _, j := range b.takeAll(t) {
		end := b.fetch(budget.WithLane(t.Context(), j.lane.String()), j, tenant.Account{})
		if end.hold != nil {
			require.NoError(t, b.hold(t.Context(), *end.hold))
		}
		b.settle(t.Context(), j, &end)
		outcomes = append(outcomes, end.outcome)
	}
	return outcomes
}

func (b *bench) why(t testing.TB, r event.Resource) Why {
	t.Helper()
	w, err := b.desk.Why(t.Context(), r)
	require.NoError(t, err)
	return w
}

// requireHeld holds what translate accepts against the vendor.
func (b *bench) requireHeld(t testing.TB, r event.Resource) {
	t.Helper()
	want := b.vendor.get(r)
	got := accepted(b.log.all(), r)
	require.NotNil(t, got)
	require.Equal(t, want.gone, got.Gone)
	if !want.gone {
		require.Equal(t, want.version, got.Version)
		require.Equal(t, want.snapshot(r).Parts, got.Parts)
		require.Equal(t, want.snapshot(r).Digest, got.Digest, "as a read gives it")
	}
}
