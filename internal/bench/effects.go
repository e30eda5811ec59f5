package bench

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
)

// concurrency is how many keys both sides work on at once.
const concurrency = 64

// effects100 applies to a destination that takes 100 ms. The ceiling is arithmetic: concurrency ÷
// latency.
func effects100(ctx context.Context, l *lab) (ours, ceiling sample, err error) {
	const latency = 100 * time.Millisecond
	n := min(l.o.Records, 6000) // ten seconds at the ceiling
	if err := l.fillDeals(ctx, n); err != nil {
		return ours, ceiling, err
	}
	return l.inTurn(
		func() (sample, error) { return l.effects(ctx, n, latency) },
		func() (sample, error) { return sample{value: concurrency / latency.Seconds()}, nil },
	)
}

// effects0 applies to a destination that answers at once: what is left is the engine. The ceiling
// decodes and hands each record to one of as many goroutines, and remembers nothing.
func effects0(ctx context.Context, l *lab) (ours, ceiling sample, err error) {
	n := l.o.Records
	if err := l.fillDeals(ctx, n); err != nil {
		return ours, ceiling, err
	}
	return l.inTurn(
		func() (sample, error) { return l.effects(ctx, n, 0) },
		func() (sample, error) {
			return l.bare(ctx, topic.Deals, n, func(ctx context.Context, records []*kgo.Record) error {
				var g errgroup.Group
				g.SetLimit(concurrency)
				for _, rec := range records {
					g.Go(func() error {
						_, err := l.codec.Decode(ctx, rec.Value)
						return err
					})
				}
				return g.Wait()
			})
		},
	)
}

func (l *lab) effects(ctx context.Context, n int, latency time.Duration) (sample, error) {
	return l.engine(ctx, topic.Deals, n, func(cfg stream.Config, c *counter) (*stream.Engine, error) {
		cfg.Concurrency = concurrency
		return stream.NewKeyed(cfg, l.deps(), destination{latency, c})
	})
}

// destination is an API that can be read back, as far away as its latency.
type destination struct {
	latency time.Duration
	c       *counter
}

func (d destination) Plan(_ context.Context, r *stream.Record) ([]ledger.Effect, error) {
	d.c.begin()
	m, ok := r.Message.(*event.DealChanged)
	if !ok {
		return nil, errors.New("the load is deals only")
	}
	return []ledger.Effect{{
		Verb: "deal.upsert", Target: m.Deal.DealKey, Class: ledger.ClassC,
		Facet: ledger.Facet{Resource: m.Deal.DealKey, Name: "DealChanged", Revision: m.Origin.Revision},
	}}, nil
}

func (d destination) Apply(ctx context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
	if d.latency > 0 {
		t := time.NewTimer(d.latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ledger.Receipt{}, ctx.Err()
		}
	}
	d.c.add(1)
	return ledger.Receipt{Ref: f.Target}, nil
}

func (destination) Confirm(context.Context, *stream.Record, ledger.Effect) (ledger.Outcome, error) {
	return ledger.CannotTell, nil
}
