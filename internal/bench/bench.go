// Package bench measures the stages against bare loops that do the same essential work without any
// of the guarantees: ours and the ceiling in one run, on the embedded broker and a real Postgres on
// disk. A ratio survives a change of machine; a rate does not.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"conveyance/avro/wire"
	"conveyance/internal/devstack/broker"
	"conveyance/internal/devstack/localpg"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
)

// Result is one benchmark's outcome.
type Result struct {
	Name    string  `json:"name"`
	Ours    float64 `json:"ours"`
	Ceiling float64 `json:"ceiling"`
	Ratio   float64 `json:"ratio"`
	Unit    string  `json:"unit"`
}

func (r Result) String() string {
	return fmt.Sprintf("bench %s ours=%.0f ceiling=%.0f ratio=%.2f unit=%s", r.Name, r.Ours, r.Ceiling, r.Ratio, r.Unit)
}

// Names are the benchmarks, in the order in which they run.
func Names() []string {
	var names []string
	for _, b := range all() {
		names = append(names, b.name)
	}
	return names
}

type benchmark struct {
	name, unit string
	run        func(ctx context.Context, l *lab) (ours, ceiling float64, err error)
}

func all() []benchmark {
	return []benchmark{
		{"scan", "records/s", scan},
		{"translate", "records/s", translateBench},
		{"project", "events/s", project},
		{"effects-0ms", "effects/s", effects0},
		{"effects-100ms", "effects/s", effects100},
	}
}

// Options of a run.
type Options struct {
	Names   []string // empty = all
	Records int      // per benchmark
	Rounds  int      // each side is run so often, in turn; the best of each counts
	Dir     string   // scratch; a folder in the system's temporary folder where empty
	Report  func(Result) error
	Notes   io.Writer
}

// Run runs the benchmarks. It takes some seconds for each.
func Run(ctx context.Context, o Options) error {
	for _, n := range o.Names {
		if !slices.Contains(Names(), n) {
			return fmt.Errorf("no benchmark is called %s: there are %v", n, Names())
		}
	}
	for _, b := range all() {
		if len(o.Names) > 0 && !slices.Contains(o.Names, b.name) {
			continue
		}
		r, err := measure(ctx, o, b)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", b.name, err)
		}
		if err := o.Report(r); err != nil {
			return err
		}
	}
	return nil
}

// measure gives each benchmark a broker and a Postgres of its own, so that none pays for another's
// data.
func measure(ctx context.Context, o Options, b benchmark) (r Result, err error) {
	l, err := open(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	ours, ceiling, err := b.run(ctx, l)
	if err != nil {
		return r, err
	}
	return Result{Name: b.name, Ours: ours, Ceiling: ceiling, Ratio: ours / ceiling, Unit: b.unit}, nil
}

// lab is what a benchmark works in.
type lab struct {
	o      Options
	dir    string
	kafka  *broker.Broker
	pg     *localpg.Server
	pool   *pgxpool.Pool
	codec  *wire.Codec
	log    *zap.Logger
	groups int
}

func open(ctx context.Context, o Options) (*lab, error) {
	dir, err := os.MkdirTemp(o.Dir, "conveyance-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a scratch folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // G302: the postgres account must enter
		return nil, err
	}
	l := &lab{o: o, dir: dir, log: zap.NewNop()}
	if l.kafka, err = broker.Start(ctx, broker.Options{Dir: filepath.Join(dir, "kafka"), Log: l.log}); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if l.pg, err = localpg.Start(ctx, localpg.Options{Dir: filepath.Join(dir, "postgres"), Progress: o.Notes}); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if l.pool, err = postgres.Open(ctx, l.pg.URL, "bench"); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if l.codec, err = wire.New(wire.Config{}); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) close() error {
	var errs []error
	if l.pool != nil {
		l.pool.Close()
	}
	if l.pg != nil {
		errs = append(errs, l.pg.Stop())
	}
	if l.kafka != nil {
		errs = append(errs, l.kafka.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

func (l *lab) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(l.kafka.Addr())}, opts...)...)
}

// deps are an engine's, with metrics of its own: each round registers them anew.
func (l *lab) deps() stream.Deps {
	return stream.Deps{
		Kafka: []kgo.Opt{kgo.SeedBrokers(l.kafka.Addr())}, Pool: l.pool, Codec: l.codec, Log: l.log,
		Metrics: prometheus.NewRegistry(),
	}
}

// group is a fresh name: a group and a schema that start at the beginning.
func (l *lab) group() string {
	l.groups++
	return fmt.Sprintf("bench%d", l.groups)
}

// best runs both sides in turn and returns the best rate of each.
func (l *lab) best(ours, ceiling func() (float64, error)) (o, c float64, err error) {
	for range max(1, l.o.Rounds) {
		rate, err := ceiling()
		if err != nil {
			return 0, 0, fmt.Errorf("ceiling: %w", err)
		}
		c = max(c, rate)
		if rate, err = ours(); err != nil {
			return 0, 0, fmt.Errorf("ours: %w", err)
		}
		o = max(o, rate)
	}
	return o, c, nil
}
