package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"conveyance/avro/wire"
	"conveyance/internal/devstack/localpg"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
)

// lab is what a benchmark works in.
type lab struct {
	o      Options
	b      benchmark
	dir    string
	kafka  server
	pg     *localpg.Server
	pool   *pgxpool.Pool
	codec  *wire.Codec
	log    *zap.Logger
	groups int
	step   atomic.Pointer[step]
}

func open(ctx context.Context, o Options, b benchmark) (*lab, error) {
	dir, err := os.MkdirTemp(o.Dir, "conveyance-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a scratch folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // G302: the postgres account must enter
		return nil, err
	}
	l := &lab{o: o, b: b, dir: dir, log: zap.NewNop()}
	if err := l.openKafka(ctx); err != nil {
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

// step is what the benchmark is doing.
type step struct {
	what string
	c    *counter             // nil = nothing is counted
	well func() (state error) // of an engine; nil = there is none
}

func (s *step) String() string {
	text := s.what
	if s.c != nil {
		text += fmt.Sprintf(", %d of %d", s.c.seen.Load(), s.c.want)
	}
	if s.well != nil {
		if err := s.well(); err != nil {
			text += ": " + err.Error()
		}
	}
	return text
}

func (l *lab) doing(what string, c *counter, well func() error) { l.step.Store(&step{what, c, well}) }

// tellEvery is how often something that takes longer says where it stands.
const tellEvery = time.Second

// tell says every second what the benchmark is doing, until stop, which returns the last of it: the
// engine's state is of use only while it runs.
func (l *lab) tell(ctx context.Context) (stop func() string) {
	l.doing("start", nil, nil)
	done, told := make(chan struct{}), make(chan string, 1)
	go func() {
		t := time.NewTicker(tellEvery)
		defer t.Stop()
		at := "start"
		for {
			select {
			case <-t.C:
				if ctx.Err() == nil {
					at = l.step.Load().String()
					_, _ = fmt.Fprintf(l.o.Notes, "%s: %s\n", l.b.name, at)
				}
			case <-done:
				told <- at
				return
			}
		}
	}()
	return func() string { close(done); return <-told }
}
