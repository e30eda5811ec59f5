package bench

import (
	"context"
	"math/rand/v2"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/schema"
	"conveyance/avro/topic"
	"conveyance/internal/stream"
)

// frameBytes stand before the Avro bytes: a zero and the schema id.
const frameBytes = 5

// bareAPI is hamba as somebody would use it without a guard.
var bareAPI = avro.Config{}.Freeze()

// scan reads and decodes a topic. The ceiling is franz-go and hamba alone; ours walks each message
// before hamba sees it, goes through the engine, and stores the offset in Postgres.
func scan(ctx context.Context, l *lab) (ours, ceiling float64, err error) {
	r := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // G404: load, not secrets
	n := l.o.Records
	if err := l.fill(ctx, topic.Deals, n, func(i int) (string, event.Message) {
		d := deal(r, i)
		return d.Deal.DealKey, d
	}); err != nil {
		return 0, 0, err
	}
	parsed, err := avro.Parse(schema.All()[string(event.TypeDealChanged)])
	if err != nil {
		return 0, 0, err
	}
	return l.best(
		func() (float64, error) {
			return l.engine(ctx, topic.Deals, n, func(cfg stream.Config, c *counter) (*stream.Engine, error) {
				return stream.NewBatch(cfg, l.deps(), counting{c})
			})
		},
		func() (float64, error) {
			return l.bare(ctx, topic.Deals, n, func(_ context.Context, records []*kgo.Record) error {
				for _, rec := range records {
					var d event.DealChanged
					if err := bareAPI.Unmarshal(parsed, rec.Value[frameBytes:], &d); err != nil {
						return err
					}
				}
				return nil
			})
		},
	)
}

// counting handles nothing.
type counting struct{ c *counter }

func (h counting) Handle(_ context.Context, b *stream.Batch) error {
	n := 0
	for range b.Records() {
		n++
	}
	h.c.add(n)
	return nil
}
