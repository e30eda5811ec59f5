package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/topic"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
)

// restartLimit is what the first record after a restart may take.
const restartLimit = time.Second

// drainTimeout lets the members end soon: their handlers never come to an end by themselves.
const drainTimeout = 100 * time.Millisecond

// restart measures how long a static member that was killed needs, from the making of its engine, to
// its first record. The killed one is cut from Kafka without a word, as by SIGKILL, while it holds
// every partition; it is left running, which is harder than death. The ceiling is a limit.
func restart(ctx context.Context, l *lab) (ours, ceiling sample, err error) {
	if err := l.fillDeals(ctx, min(l.o.Records, keys)); err != nil {
		return ours, ceiling, err
	}
	return l.inTurn(
		func() (sample, error) { return l.restart(ctx) },
		func() (sample, error) { return sample{value: milliseconds(restartLimit)}, nil },
	)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (l *lab) restart(ctx context.Context) (s sample, err error) {
	group := l.group()
	if err := l.migrate(ctx, group); err != nil {
		return s, err
	}
	cfg := stream.Config{Group: group, Topics: []string{topic.Deals}, InstanceID: "bench-0", DrainTimeout: drainTimeout}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	line := &line{}
	first, err := l.member(ctx, cfg, &wg, kgo.Dialer(line.dial))
	if err != nil {
		return s, err
	}
	l.doing("the first life", nil, nil)
	if err := await(ctx, first); err != nil {
		return s, err
	}
	line.cut()
	began := time.Now()
	second, err := l.member(ctx, cfg, &wg)
	if err != nil {
		return s, err
	}
	l.doing("the second life", nil, nil)
	err = await(ctx, second)
	return sample{value: milliseconds(time.Since(began))}, err
}

// member runs an engine as a process of its own would, with a pool of its own; the channel is closed
// with its first record. Its handler keeps what it is given, so that there is something left to read.
func (l *lab) member(ctx context.Context, cfg stream.Config, wg *sync.WaitGroup, opts ...kgo.Opt) (<-chan struct{}, error) {
	pool, err := postgres.Open(ctx, l.pg.URL, cfg.Group)
	if err != nil {
		return nil, err
	}
	deps := l.deps()
	deps.Pool = pool
	deps.Kafka = append(deps.Kafka, opts...)
	k := &keeping{got: make(chan struct{})}
	e, err := stream.NewBatch(cfg, deps, k)
	if err != nil {
		pool.Close()
		return nil, err
	}
	wg.Go(func() {
		defer pool.Close()
		_ = e.Run(ctx) // the first one's: it is fenced
	})
	return k.got, nil
}

func await(ctx context.Context, got <-chan struct{}) error {
	select {
	case <-got:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keeping is a handler that ends with its engine.
type keeping struct {
	got  chan struct{}
	once sync.Once
}

func (k *keeping) Handle(ctx context.Context, _ *stream.Batch) error {
	k.once.Do(func() { close(k.got) })
	<-ctx.Done()
	return context.Cause(ctx)
}

var errCut = errors.New("the line is cut")

// line is a process's way to Kafka.
type line struct {
	mu    sync.Mutex
	gone  bool
	conns []net.Conn
}

func (l *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return nil, errCut
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("dialling the broker: %w", err)
	}
	l.conns = append(l.conns, c)
	return c, nil
}

// cut is what the end of a process does to its connections.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	for _, c := range l.conns {
		_ = c.Close()
	}
}
