package timeline

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/postgres"
)

const (
	// sinceMax is how many entries Since returns at most: a screen follows in steps.
	sinceMax = 1000
	// findMax is how many deals Find returns: more are no answer for a person.
	findMax = 50
)

const (
	// One writer at a time between here and its commit: an id that is visible has no lower one that
	// is not. The lock ends with the transaction.
	sqlLock = `
SELECT pg_advisory_xact_lock(hashtextextended('{schema}.entry', 0))`

	// Unique by the record's place: a replay finds it there.
	sqlEntries = `
INSERT INTO {schema}.entry (tenant, deal_key, at, kind, topic, part, pos, event_id, version, line)
SELECT *
  FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::int[], $7::bigint[],
              $8::uuid[], $9::bigint[], $10::text[])
    ON CONFLICT (topic, part, pos, kind) DO NOTHING`

	// By the primary key; a deal that is there stays as it is.
	sqlDeals = `
INSERT INTO {schema}.deal (deal_key, tenant, source_id)
SELECT DISTINCT *
  FROM unnest($1::text[], $2::text[], $3::text[]) AS x(deal_key, tenant, source_id)
 WHERE x.source_id <> ''
 ORDER BY 1
    ON CONFLICT DO NOTHING`

	sqlColumns = `id, tenant, deal_key, at, kind, topic, part, pos, event_id, version, line`

	// By the index on deal_key.
	sqlDeal = `
SELECT ` + sqlColumns + `
  FROM {schema}.entry
 WHERE deal_key = $1
 ORDER BY at, array_position(ARRAY['hint', 'fact', 'meaning'], kind), topic, part, pos`

	// By the primary key.
	sqlSince = `
SELECT ` + sqlColumns + `
  FROM {schema}.entry
 WHERE id > $1
 ORDER BY id
 LIMIT $2`

	// By the primary key.
	sqlLast = `
SELECT coalesce(max(id), 0)
  FROM {schema}.entry`

	// By the primary key and the pattern indexes of deal.
	sqlFind = `
SELECT deal_key
  FROM {schema}.deal
 WHERE deal_key LIKE $1 OR source_id LIKE $1
 ORDER BY deal_key <> $2 AND source_id <> $2, deal_key
 LIMIT $3`
)

// Deal returns the entries of a deal in the order in which they happened.
func Deal(ctx context.Context, pool *pgxpool.Pool, schema, dealKey string) ([]Entry, error) {
	entries, err := read(ctx, pool, postgres.In(schema, sqlDeal), dealKey)
	if err != nil {
		return nil, fmt.Errorf("reading the timeline of deal %s: %w", dealKey, err)
	}
	return entries, nil
}

// Since returns the entries that became visible after the one with an id, in the order of their
// ids, 1,000 at most. 0 is the beginning; what Last returns is now.
func Since(ctx context.Context, pool *pgxpool.Pool, schema string, id int64) ([]Entry, error) {
	entries, err := read(ctx, pool, postgres.In(schema, sqlSince), id, sinceMax)
	if err != nil {
		return nil, fmt.Errorf("reading the timeline after %d: %w", id, err)
	}
	return entries, nil
}

// Last returns the highest id that is visible now, 0 where there is no entry.
func Last(ctx context.Context, pool *pgxpool.Pool, schema string) (id int64, err error) {
	if err := pool.QueryRow(ctx, postgres.In(schema, sqlLast)).Scan(&id); err != nil {
		return 0, fmt.Errorf("reading the end of the timeline: %w", err)
	}
	return id, nil
}

// Find returns the keys of the deals whose key or vendor's id begins with a text, the exact one
// first, 50 at most.
func Find(ctx context.Context, pool *pgxpool.Pool, schema, text string) ([]string, error) {
	prefix := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
	rows, err := pool.Query(ctx, postgres.In(schema, sqlFind), prefix, text, findMax)
	if err != nil {
		return nil, fmt.Errorf("finding deals like %q: %w", text, err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("finding deals like %q: %w", text, err)
	}
	return keys, nil
}

func read(ctx context.Context, pool *pgxpool.Pool, sql string, args ...any) ([]Entry, error) {
	rows, err := pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (e Entry, err error) {
		err = r.Scan(&e.ID, &e.Tenant, &e.DealKey, &e.At, &e.Kind,
			&e.Topic, &e.Partition, &e.Offset, &e.EventID, &e.Version, &e.Line)
		e.At = e.At.UTC()
		return e, err
	})
}
