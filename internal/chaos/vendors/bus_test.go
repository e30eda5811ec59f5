package vendors_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/consumers"
	"conveyance/consumers/followupboss"
	"conveyance/internal/budget"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
	"conveyance/processors/fetch"
	"conveyance/producers"
	"conveyance/producers/docusign"
	"conveyance/producers/ingest"
	"conveyance/producers/register"
	"conveyance/producers/skyslope"
)

// pace is how fast the bus and the vendors live.
type pace struct {
	scale   float64       // how fast fetch's clock is
	vendors float64       // how fast the vendors' is
	timeout time.Duration // of a call
	body    int64         // the largest answer, in bytes; 0 = as in production
	noise   []string      // verdicts that a loaded machine brings about where calls may take so short a time
	slow    string        // seconds of a slow answer: longer than timeout
	lag     time.Duration // the vendor's own longest processing
	every   time.Duration // between two changes where a fault stays
	window  time.Duration // how long a fault that stays is watched
	patient time.Duration // for what ends well
	first   float64       // calls until the waits have grown, where the window is short
}

// bus is every stage that calls a vendor, each as its command puts it together, and what feeds them.
type bus struct {
	*world
	pace      pace
	said      *said
	seen      *seen
	publisher *stream.Publisher
	desk      *fetch.Desk
	queue     *ledger.Queue
	vendors   []producers.Vendor
	runs      []func(context.Context) error
}

func build(t *testing.T, w *world, p pace) *bus {
	t.Helper()
	b := &bus{world: w, pace: p, said: &said{LevelEnabler: zap.InfoLevel, lines: map[string][]string{}}}
	own := postgres.Migrations{Set: "own"}
	db := testkit.Database(t)
	for _, m := range []postgres.Migrations{
		{Schema: fetch.Schema, Set: "engine", Files: ledger.Migrations()},
		{Schema: fetch.Schema, Set: own.Set, Files: fetch.Migrations()},
		{Schema: followupboss.Name, Set: "engine", Files: ledger.Migrations()},
		{Schema: followupboss.Name, Set: own.Set, Files: followupboss.Migrations()},
		{Schema: tenant.Schema, Set: own.Set, Files: budget.Migrations()},
		{Schema: ingest.Schema, Set: own.Set, Files: ingest.Migrations()},
	} {
		require.NoError(t, m.Apply(t.Context(), db))
	}
	topics := []string{topic.Deals, topic.Contacts, topic.Webhooks(docusign.Name), topic.Snapshots(docusign.Name), topic.Snapshots(skyslope.Name)}
	seeds := kgo.SeedBrokers(testkit.Kafka(t, topic.PartitionsDefault, topics...).ListenAddrs()...)
	codec, err := wire.New(wire.Config{})
	require.NoError(t, err)
	deps := func(name string) stream.Deps {
		pool, err := postgres.Open(t.Context(), db, name)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		return stream.Deps{Kafka: []kgo.Opt{seeds}, Pool: pool, Codec: codec, Log: zap.New(b.said)}
	}
	b.watch(seeds, codec, topics[3:]...)
	b.publisher, err = stream.NewPublisher("", deps("publisher"))
	require.NoError(t, err)
	t.Cleanup(b.publisher.Close)
	fast := clock{time.Now(), p.scale}
	calls := func(d stream.Deps) *vendorhttp.Client {
		c, err := vendorhttp.New(vendorhttp.Config{
			AllowLoopback: true, Timeout: p.timeout, BodyBytesMax: p.body, Tokens: &tokens{base: w.server.URL + "/docusign", all: map[string]string{}},
			Budget: budget.New(d.Pool, tenant.Schema, budget.Config{Quotas: map[string]budget.Quota{
				"followupboss": {Calls: 250, Window: 10 * time.Second}, "followupboss/PUT.people": {Calls: 25, Window: 10 * time.Second},
				"docusign": {Calls: 3000, Window: time.Hour}, "docusign/burst": {Calls: 500, Window: 30 * time.Second},
			}}),
			Health: b.health(d),
		})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c
	}
	b.sources(deps, calls, fast)
	b.destination(deps, calls)
	return b
}

func (b *bus) sources(deps func(string) stream.Deps, calls func(stream.Deps) *vendorhttp.Client, fast clock) {
	d := deps("fetch")
	all, err := register.Vendors(producers.Deps{HTTP: scaled{calls(d), fast}})
	require.NoError(b.t, err)
	for i := range all {
		switch all[i].Name {
		case skyslope.Name: // every two seconds of ours, so that the sample's machine can do it
			all[i].PollEvery = max(all[i].PollEvery, time.Duration(2*float64(time.Second)*b.pace.scale))
		case docusign.Name: // once: what the list brings is not read by itself
			all[i].PollEvery = 24 * time.Hour
			if b.pace.vendors > 1 {
				ours := time.Duration(float64(all[i].Again)/b.pace.vendors) + time.Second
				all[i].Again = time.Duration(float64(ours) * b.pace.scale)
			}
		}
	}
	b.vendors = all
	f, err := fetch.New(fetch.Config{Now: fast.now, Concurrency: 48, Polls: 24}, fetch.Deps{
		Pool: d.Pool, Publish: b.publisher, Tenants: b.tenants, Vendors: all, Log: d.Log,
	})
	require.NoError(b.t, err)
	b.desk = fetch.NewDesk(deps("looking").Pool, fetch.Schema, b.tenants, fast.now)
	in := deps("intake")
	intake, err := stream.NewBatch(stream.Config{Group: fetch.Schema, Topics: []string{topic.Webhooks(docusign.Name)}}, in, f.Intake())
	require.NoError(b.t, err)
	door, err := ingest.New(ingest.Config{}, ingest.Deps{
		Pool: in.Pool, Endpoints: b.tenants, Tenants: b.tenants, Vendors: all, Publish: published{b.publisher}, Log: d.Log,
	})
	require.NoError(b.t, err)
	server, err := ingest.Listen(b.t.Context(), "127.0.0.1:0", door.Handler(), d.Log)
	require.NoError(b.t, err)
	b.runs = append(b.runs, f.Workers().Run, f.Pollers().Run, intake.Run,
		func(ctx context.Context) error { return door.Run(ctx, server.Run) })
	for _, v := range all {
		if v.Subscriber == nil {
			continue
		}
		for _, t := range b.tenants {
			if a, ok := t.Account(v.Name, account); ok {
				_, err := v.Subscriber.Subscribe(b.t.Context(), a, "http://"+server.Addr()+"/in/"+v.Name+"/"+t.ID)
				require.NoError(b.t, err)
			}
		}
	}
}

func (b *bus) destination(deps func(string) stream.Deps, calls func(stream.Deps) *vendorhttp.Client) {
	d := deps(followupboss.Name)
	h, err := consumers.Keyed(followupboss.Destination(), consumers.Deps{
		Pool: d.Pool, Schema: followupboss.Name, Tenants: b.tenants, HTTP: calls(d), Log: d.Log,
	})
	require.NoError(b.t, err)
	e, err := stream.NewKeyed(stream.Config{
		Group: followupboss.Name, Topics: []string{topic.Deals, topic.Contacts}, VendorLag: b.pace.lag,
	}, d, h)
	require.NoError(b.t, err)
	b.queue = ledger.NewQueue(deps("looking").Pool, followupboss.Name)
	b.runs = append(b.runs, e.Run)
}

// health wakes what a healed account's group holds, as the commands do; fetch's holds end by the clock.
func (b *bus) health(d stream.Deps) func(context.Context, tenant.Account, bool, string) {
	return func(ctx context.Context, a tenant.Account, refused bool, _ string) {
		if !refused && a.Vendor == followupboss.Name {
			_, _ = ledger.Wake(ctx, d.Pool, followupboss.Name, verdict.AccountScope(a.Tenant, a.Vendor, a.Name))
		}
	}
}

// run lets the stages run until the test ends.
func (b *bus) run() {
	ctx, cancel := context.WithCancel(b.t.Context())
	var all sync.WaitGroup
	for _, run := range b.runs {
		all.Go(func() {
			if err := run(ctx); err != nil {
				b.t.Errorf("a stage ended: %v", err)
			}
		})
	}
	b.t.Cleanup(func() {
		cancel()
		all.Wait()
	})
}

type published struct{ p *stream.Publisher }

func (p published) Publish(ctx context.Context, key string, w *event.WebhookReceived, done func(error)) error {
	return p.p.Send(ctx, stream.Out{Topic: topic.Webhooks(w.Vendor), Key: []byte(key), Message: w}, done)
}

// seen is what translate would hold of each record (protocol.md 16), and how many snapshots there were.
type seen struct {
	mu    sync.Mutex
	now   map[event.Resource]event.VendorSnapshot
	count map[event.Resource]int
}

func (s *seen) take(snap event.VendorSnapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := snap.Resource
	s.count[r]++
	if old := s.now[r]; snap.Version > old.Version || snap.Version == old.Version && snap.Token > old.Token || snap.Gone {
		s.now[r] = snap
	}
}

func (s *seen) get(r event.Resource) (event.VendorSnapshot, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now[r], s.count[r]
}

// watch reads the snapshots as they come.
func (b *bus) watch(seeds kgo.Opt, codec *wire.Codec, topics ...string) {
	b.seen = &seen{now: map[event.Resource]event.VendorSnapshot{}, count: map[event.Resource]int{}}
	cl, err := kgo.NewClient(seeds, kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(b.t, err)
	b.t.Cleanup(cl.Close)
	b.runs = append(b.runs, func(ctx context.Context) error {
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				if m, err := codec.Decode(ctx, r.Value); err == nil {
					if s, ok := m.(*event.VendorSnapshot); ok {
						b.seen.take(*s)
					}
				}
			})
		}
		return nil
	})
}

// said is a log that keeps, by tenant, each verdict with its cause, once.
type said struct {
	zapcore.LevelEnabler
	mu    sync.Mutex
	lines map[string][]string
}

func (s *said) With([]zapcore.Field) zapcore.Core { return s }
func (s *said) Sync() error                       { return nil }
func (s *said) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if s.Enabled(e.Level) {
		return c.AddCore(e, s)
	}
	return c
}

func (s *said) Write(e zapcore.Entry, fields []zapcore.Field) error {
	var who, cause string
	for _, f := range fields {
		switch f.Key {
		case "tenant":
			who = f.String
		case "cause":
			cause = f.String
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if line := verb(e.Message, cause); line != "" && !slices.Contains(s.lines[who], line) {
		s.lines[who] = append(s.lines[who], line)
	}
	return nil
}

func (s *said) of(tenant string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines[tenant])
}
