package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/verdict"
)

// sample is what one side came to: its value in the benchmark's unit, its processor time in
// microseconds per record, and percentiles of an answer in milliseconds where there are answers.
type sample struct{ value, cpu, p50, p99 float64 }

// inTurn is turns, as often as Options.Rounds says.
func (l *lab) inTurn(ours, ceiling func() (sample, error)) (o, c sample, err error) {
	return l.turns(max(1, l.o.Rounds), ours, ceiling)
}

// turns runs both sides n times in turn, each as often the first of a pair as the other, and returns the
// round whose ratio is the median: a pair met the same load of the machine, and other pairs another. The
// best of each side would favour the one that is done sooner, which more easily meets a quiet moment.
// Processor time is the least of each side.
func (l *lab) turns(n int, ours, ceiling func() (sample, error)) (o, c sample, err error) {
	type round struct{ ours, ceiling sample }
	rounds := make([]round, n)
	for i := range rounds {
		r := &rounds[i]
		pair := []struct {
			name string
			run  func() (sample, error)
			into *sample
		}{{"ceiling", ceiling, &r.ceiling}, {"ours", ours, &r.ours}}
		if i%2 == 1 {
			slices.Reverse(pair)
		}
		for _, side := range pair {
			if *side.into, err = side.run(); err != nil {
				return o, c, fmt.Errorf("%s: %w", side.name, err)
			}
		}
	}
	slices.SortFunc(rounds, func(a, b round) int {
		return cmp.Compare(a.ours.value*b.ceiling.value, b.ours.value*a.ceiling.value)
	})
	m := rounds[len(rounds)/2]
	for _, r := range rounds {
		m.ours.cpu, m.ceiling.cpu = min(m.ours.cpu, r.ours.cpu), min(m.ceiling.cpu, r.ceiling.cpu)
	}
	return m.ours, m.ceiling, nil
}

// engine runs an engine made by build until n records are written, and returns the rate from the
// moment on at which the first reached its handler.
func (l *lab) engine(
	ctx context.Context, name string, n int, build func(stream.Config, *counter) (*stream.Engine, error),
) (sample, error) {
	group := l.group()
	if err := l.migrate(ctx, group); err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &counter{want: int64(n), done: cancel}
	e, err := build(stream.Config{Group: group, Topics: []string{name}}, c)
	if err != nil {
		return sample{}, err
	}
	l.doing("ours", c, e.Ready)
	err = e.Run(ctx)
	if bad := c.bad.Load(); bad != nil {
		err = errors.Join(err, *bad)
	}
	if c.seen.Load() < c.want {
		return sample{}, errors.Join(fmt.Errorf("the engine ended after %d of %d records", c.seen.Load(), n), err)
	}
	return c.sample(), nil
}

func (l *lab) migrate(ctx context.Context, group string) error {
	m := postgres.Migrations{Schema: group, Set: "engine", Files: ledger.Migrations()}
	return m.Apply(ctx, l.pg.URL)
}

// counter measures from the first record to the last.
type counter struct {
	want        int64
	seen        atomic.Int64
	first, last atomic.Pointer[moment]
	bad         atomic.Pointer[error] // the load came to something else than done
	done        func()
}

// moment is a time and the processor time that the process had used until then.
type moment struct {
	at  time.Time
	cpu time.Duration
}

func now() *moment {
	m := &moment{at: time.Now()}
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		m.cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return m
}

func (c *counter) begin() {
	if c.first.Load() == nil {
		c.first.CompareAndSwap(nil, now())
	}
}

func (c *counter) add(n int) {
	c.begin()
	if c.seen.Add(int64(n)) >= c.want {
		c.last.CompareAndSwap(nil, now())
		c.done()
	}
}

func (c *counter) fail(err error) {
	c.bad.CompareAndSwap(nil, &err)
	c.done()
}

func (c *counter) sample() sample {
	first, last := c.first.Load(), c.last.Load()
	return sample{
		value: float64(c.want) / last.at.Sub(first.at).Seconds(),
		cpu:   float64((last.cpu - first.cpu).Microseconds()) / float64(c.want),
	}
}

// counted counts what another handler has handled, in the transaction that writes it. Load that does
// not come to its end is a mistake of the benchmark: it would measure the queue.
type counted struct {
	h stream.BatchHandler
	c *counter
}

func (h counted) Handle(ctx context.Context, b *stream.Batch) error {
	h.c.begin()
	if err := h.h.Handle(ctx, b); err != nil {
		return err
	}
	for _, r := range b.Results() {
		if r.Verdict != nil && r.Verdict.Kind != verdict.Skip {
			h.c.fail(fmt.Errorf("a record of the load came to: %w", r.Verdict))
		}
	}
	n := len(b.Results())
	b.Commit(func(context.Context, pgx.Tx) error {
		h.c.add(n)
		return nil
	})
	return nil
}

// Forget passes on what the engine asks of the handler.
func (h counted) Forget(topic string, partition int32) {
	if f, ok := h.h.(stream.Forgetter); ok {
		f.Forget(topic, partition)
	}
}

// bare polls a topic with a plain client, hands each fetch to work, and returns the rate from the
// moment on at which the first fetch had come.
func (l *lab) bare(ctx context.Context, name string, n int, work func(context.Context, []*kgo.Record) error) (sample, error) {
	cl, err := l.client(kgo.ConsumeTopics(name), kgo.ConsumerGroup(l.group()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		return sample{}, err
	}
	defer cl.Close()
	c := &counter{want: int64(n), done: func() {}}
	l.doing("ceiling", c, nil)
	for c.seen.Load() < c.want {
		fetches := cl.PollRecords(ctx, 5000)
		if err := fetches.Err0(); err != nil {
			return sample{}, err
		}
		c.begin()
		records := fetches.Records()
		if err := work(ctx, records); err != nil {
			return sample{}, err
		}
		c.add(len(records))
	}
	return c.sample(), nil
}
