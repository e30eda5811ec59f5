package bench

import (
	"context"
	"testing/fstest"

	"github.com/google/uuid"
	"github.com/hamba/avro/v2"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/schema"
	"conveyance/avro/topic"
	"conveyance/consumers"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
)

// The same projection for both sides: one row per deal, kept by revision.
const (
	sqlTable = `CREATE TABLE {schema}.deal (deal_key text PRIMARY KEY, revision bigint NOT NULL, status text NOT NULL, sale_price bigint)`

	sqlUpsert = `
INSERT INTO {schema}.deal AS d (deal_key, revision, status, sale_price)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[])
ON CONFLICT (deal_key) DO UPDATE
   SET revision = EXCLUDED.revision, status = EXCLUDED.status, sale_price = EXCLUDED.sale_price
 WHERE d.revision < EXCLUDED.revision`

	sqlBareTables = `
CREATE TABLE {schema}.seen (eid uuid PRIMARY KEY);
CREATE TABLE {schema}.place (part int PRIMARY KEY, next_offset bigint NOT NULL)`

	sqlBareSeen = `INSERT INTO {schema}.seen SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING`

	sqlBarePlace = `
INSERT INTO {schema}.place VALUES ($1, $2) ON CONFLICT (part) DO UPDATE SET next_offset = EXCLUDED.next_offset`
)

// rows are a batch's columns, the newest revision of each deal.
type rows struct {
	index     map[string]int
	keys      []string
	revisions []int64
	states    []string
	prices    []*int64
}

func (r *rows) add(d *event.DealChanged) {
	if r.index == nil {
		r.index = map[string]int{}
	}
	i, ok := r.index[d.Deal.DealKey]
	if !ok {
		i = len(r.keys)
		r.index[d.Deal.DealKey] = i
		r.keys, r.revisions = append(r.keys, d.Deal.DealKey), append(r.revisions, 0)
		r.states, r.prices = append(r.states, ""), append(r.prices, nil)
	}
	r.revisions[i], r.states[i] = d.Origin.Revision, string(d.Deal.Status)
	if d.Deal.SalePrice != nil {
		r.prices[i] = &d.Deal.SalePrice.Minor
	}
}

func (r *rows) write(ctx context.Context, tx pgx.Tx, schema string) error {
	_, err := tx.Exec(ctx, postgres.In(schema, sqlUpsert), r.keys, r.revisions, r.states, r.prices)
	return err
}

// project decodes, keeps a table and remembers each event. The ceiling does it in one transaction
// per partition of a poll, with nothing that fences or frames it.
func project(ctx context.Context, l *lab) (ours, ceiling sample, err error) {
	n := l.o.Records
	if err := l.fillDeals(ctx, n); err != nil {
		return ours, ceiling, err
	}
	return l.inTurn(
		func() (sample, error) { return l.projectOurs(ctx, n) },
		func() (sample, error) { return l.projectBare(ctx, n) },
	)
}

func (l *lab) projectOurs(ctx context.Context, n int) (sample, error) {
	return l.engine(ctx, topic.Deals, n, func(cfg stream.Config, c *counter) (*stream.Engine, error) {
		own := postgres.Migrations{Schema: cfg.Group, Set: "own", Files: fstest.MapFS{
			"0001_init.sql": {Data: []byte("-- +goose Up\n" + sqlTable + ";\n")},
		}}
		if err := own.Apply(ctx, l.pg.URL); err != nil {
			return nil, err
		}
		h, err := consumers.Batched(consumers.Destination{
			Name: cfg.Group, Topics: cfg.Topics,
			Projection: func(consumers.Deps) (consumers.Projection, error) { return projection{cfg.Group}, nil },
		}, consumers.Deps{Pool: l.pool, Schema: cfg.Group, Log: l.log, Metrics: l.deps().Metrics})
		if err != nil {
			return nil, err
		}
		return stream.NewBatch(cfg, l.deps(), counted{h, c})
	})
}

// projection is the table by way of a destination.
type projection struct{ schema string }

func (p projection) Project(ctx context.Context, tx pgx.Tx, batch []consumers.Placed) error {
	var rs rows
	for _, placed := range batch {
		if d, ok := placed.Message.(*event.DealChanged); ok {
			rs.add(d)
		}
	}
	return rs.write(ctx, tx, p.schema)
}

func (l *lab) projectBare(ctx context.Context, n int) (sample, error) {
	name := l.group()
	for _, sql := range []string{"CREATE SCHEMA {schema}", sqlTable, sqlBareTables} {
		if _, err := l.pool.Exec(ctx, postgres.In(name, sql)); err != nil {
			return sample{}, err
		}
	}
	parsed, err := avro.Parse(schema.All()[string(event.TypeDealChanged)])
	if err != nil {
		return sample{}, err
	}
	return l.bare(ctx, topic.Deals, n, func(ctx context.Context, records []*kgo.Record) error {
		byPart := map[int32][]*kgo.Record{}
		for _, rec := range records {
			byPart[rec.Partition] = append(byPart[rec.Partition], rec)
		}
		for part, recs := range byPart {
			for len(recs) > 0 {
				m := min(len(recs), 500)
				if err := l.bareBatch(ctx, name, parsed, part, recs[:m]); err != nil {
					return err
				}
				recs = recs[m:]
			}
		}
		return nil
	})
}

func (l *lab) bareBatch(ctx context.Context, name string, parsed avro.Schema, part int32, records []*kgo.Record) error {
	var rs rows
	ids := make([]uuid.UUID, 0, len(records))
	for _, rec := range records {
		var d event.DealChanged
		if err := bareAPI.Unmarshal(parsed, rec.Value[frameBytes:], &d); err != nil {
			return err
		}
		id, err := uuid.Parse(d.Origin.EventID)
		if err != nil {
			return err
		}
		ids = append(ids, id)
		rs.add(&d)
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, postgres.In(name, sqlBareSeen), ids); err != nil {
			return err
		}
		if err := rs.write(ctx, tx, name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, postgres.In(name, sqlBarePlace), part, records[len(records)-1].Offset+1)
		return err
	})
}
