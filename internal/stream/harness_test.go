package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"),
		goleak.IgnoreAnyFunction("conveyance/internal/devstack/child.Start.func1")) // the Postgres of the tests
}

const prefix = "t."

// world is one test's Kafka, Postgres and codec.
type world struct {
	t      testing.TB
	kafka  *kfake.Cluster
	pool   *pgxpool.Pool
	schema string
	codec  *wire.Codec
	pub    *stream.Publisher
}

func newWorld(t testing.TB, partitions int32, topics ...string) *world {
	t.Helper()
	if len(topics) == 0 {
		topics = []string{topic.Deals}
	}
	full := make([]string, len(topics))
	for i, name := range topics {
		full[i] = prefix + name
	}
	w := &world{t: t, kafka: testkit.Kafka(t, partitions, full...)}
	w.pool, w.schema = testkit.Schema(t)
	m := postgres.Migrations{Schema: w.schema, Set: "engine", Files: ledger.Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	codec, err := wire.New(wire.Config{Prefix: prefix})
	require.NoError(t, err)
	w.codec = codec
	w.pub, err = stream.NewPublisher(prefix, w.deps(w.pool))
	require.NoError(t, err)
	t.Cleanup(w.pub.Close)
	return w
}

func (w *world) deps(pool *pgxpool.Pool) stream.Deps {
	return stream.Deps{
		Kafka: []kgo.Opt{kgo.SeedBrokers(w.kafka.ListenAddrs()...)}, Pool: pool, Codec: w.codec, Log: testkit.Log(w.t),
	}
}

// config is a group with times that fit a test.
func (w *world) config() stream.Config {
	return stream.Config{
		Group: "g", Schema: w.schema, Topics: []string{topic.Deals}, Prefix: prefix, Session: 6 * time.Second,
		CallDeadline: 500 * time.Millisecond, VendorLag: 100 * time.Millisecond, DrainTimeout: 5 * time.Second,
	}
}

// running is an engine under test.
type running struct {
	*stream.Engine
	stop func()
	err  chan error
}

func (w *world) run(e *stream.Engine, err error) *running {
	w.t.Helper()
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Engine: e, err: make(chan error, 1)}
	go func() { r.err <- e.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(w.t, <-r.err)
		})
	}
	w.t.Cleanup(r.stop)
	return r
}

func (w *world) keyed(h stream.KeyedHandler) *running {
	w.t.Helper()
	return w.run(stream.NewKeyed(w.config(), w.deps(w.pool), h))
}

func (w *world) batch(h stream.BatchHandler) *running {
	w.t.Helper()
	return w.run(stream.NewBatch(w.config(), w.deps(w.pool), h))
}

// deal is event n of a deal: revision n, so that order shows.
func deal(tenant, id string, n int64) *event.DealChanged {
	r := event.Resource{Tenant: tenant, Vendor: "skyslope", Account: "main", Kind: "sale", ID: id}
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
	return &event.DealChanged{
		Origin: event.Origin{
			EventID:  event.ID(at, r, n, event.TypeDealChanged, "").String(),
			Resource: r,
			Revision: n,
			ReadAt:   at,
		},
		Deal: event.Deal{
			DealKey:        r.Key(),
			Status:         event.TransactionStatusPreContract,
			Representation: event.RepresentationBuyer,
		},
	}
}

func out(m *event.DealChanged) stream.Out {
	return stream.Out{Topic: topic.Deals, Key: []byte(m.Deal.DealKey), Message: m}
}

// publish puts deals into the log, in order.
func (w *world) publish(deals ...*event.DealChanged) {
	w.t.Helper()
	for _, d := range deals {
		require.NoError(w.t, w.pub.Publish(w.t.Context(), out(d)))
	}
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pool.Exec(w.t.Context(), postgres.In(w.schema, sql), args...)
	require.NoError(w.t, err)
}

func get[T any](w *world, sql string, args ...any) T {
	w.t.Helper()
	var v T
	require.NoError(w.t, w.pool.QueryRow(w.t.Context(), postgres.In(w.schema, sql), args...).Scan(&v))
	return v
}

// watermark is the sum of next_offset over all partitions.
func (w *world) watermark() int64 {
	return get[int64](w, "SELECT COALESCE(sum(next_offset),0)::bigint FROM {schema}.consumer_offsets")
}

func (w *world) eventually(what string, cond func() bool) {
	w.t.Helper()
	require.Eventually(w.t, cond, testkit.Patience, testkit.Look, what)
}

func (w *world) atWatermark(n int64) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("watermark %d", n), func() bool { return w.watermark() == n })
}

// state is the ledger's state of a deal's effect, by its line.
func (w *world) states() string {
	w.t.Helper()
	return get[string](
		w,
		"SELECT COALESCE(string_agg(line || '=' || state, ' ' ORDER BY line),'') FROM {schema}.ledger",
	)
}

// vendor is an in-test destination: it counts what it was asked for, and holds what it did.
type vendor struct {
	class ledger.Class
	verbs []string // one effect each; default one
	facts bool     // effects have no newer state
	apply func(ctx context.Context, r *stream.Record, f ledger.Effect) (ledger.Receipt, error)
	plan  func(r *stream.Record) error

	mu    sync.Mutex
	calls []string // line of every call, in order of their start
	did   []string // line of every call that was carried out
	reads int
}

func (v *vendor) Plan(_ context.Context, r *stream.Record) ([]ledger.Effect, error) {
	if v.plan != nil {
		if err := v.plan(r); err != nil {
			return nil, err
		}
	}
	e := r.Message.(*event.DealChanged)
	verbs := v.verbs
	if len(verbs) == 0 {
		verbs = []string{"set"}
	}
	var effects []ledger.Effect
	for _, verb := range verbs {
		f := ledger.Effect{Verb: verb, Target: e.Deal.DealKey, Class: v.class, Line: line(e, verb)}
		if !v.facts {
			f.Facet = ledger.Facet{Resource: e.Origin.Resource.Key(), Name: verb, Revision: e.Origin.Revision}
		}
		effects = append(effects, f)
	}
	return effects, nil
}

func line(e *event.DealChanged, verb string) string {
	s := fmt.Sprintf("%s/%s#%d", e.Origin.Resource.Tenant, e.Origin.Resource.ID, e.Origin.Revision)
	if verb != "set" {
		s += ":" + verb
	}
	return s
}

func (v *vendor) Apply(ctx context.Context, r *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
	v.mu.Lock()
	v.calls = append(v.calls, f.Line)
	v.mu.Unlock()
	if v.apply != nil {
		if receipt, err := v.apply(ctx, r, f); err != nil {
			return receipt, err
		}
	}
	v.carry(f.Line)
	return ledger.Receipt{Ref: "ref " + f.Line}, nil
}

func (v *vendor) carry(line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.did = append(v.did, line)
}

func (v *vendor) Confirm(_ context.Context, _ *stream.Record, f ledger.Effect) (ledger.Outcome, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reads++
	n := 0
	for _, did := range v.did {
		if did == f.Line {
			n++
		}
	}
	return []ledger.Outcome{ledger.NotInPlace, ledger.InPlace, ledger.Doubled}[min(n, 2)], nil
}

func (v *vendor) done() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string{}, v.did...)
}

func (v *vendor) called() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string{}, v.calls...)
}

// of keeps the lines of one deal.
func of(lines []string, deal string) []string {
	var kept []string
	for _, l := range lines {
		if strings.HasPrefix(l, deal+"#") {
			kept = append(kept, l)
		}
	}
	return kept
}

var errCut = errors.New("connection reset")
