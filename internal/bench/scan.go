package bench

import (
	"context"

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
func scan(ctx context.Context, l *lab) (ours, ceiling sample, err error) {
	n := l.o.Records
	if err := l.fillDeals(ctx, n); err != nil {
		return ours, ceiling, err
	}
	parsed, err := avro.Parse(schema.All()[string(event.TypeDealChanged)])
	if err != nil {
		return ours, ceiling, err
	}
	return l.inTurn(
		func() (sample, error) {
			return l.engine(ctx, topic.Deals, n, func(cfg stream.Config, c *counter) (*stream.Engine, error) {
				return stream.NewBatch(cfg, l.deps(), counted{nothing{}, c})
			})
		},
		func() (sample, error) {
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

// nothing is a handler that needs nothing but the records.
type nothing struct{}

func (nothing) Handle(context.Context, *stream.Batch) error { return nil }
