package judge

import (
	"context"
	"fmt"

	"conveyance/internal/postgres"
)

// Read once at the end of a run, so no index is asked for; nothing is written.
const (
	sqlWarehouse = `
SELECT d.deal_key,
       jsonb_build_object(
         'status', d.status, 'vendor_status', d.vendor_status, 'archived', d.archived,
         'sale_price_minor', d.sale_price_minor, 'list_price_minor', d.list_price_minor,
         'currency', 'USD',
         'contract_date', d.purchase_contract_date, 'projected_close_date', d.projected_close_date,
         'close_date', d.close_date, 'mls_number', d.listing_id,
         'participants', (SELECT count(*) FROM warehouse.deal_participant p WHERE p.deal_key = d.deal_key),
         'gross_commission_minor', (SELECT c.gross_minor FROM warehouse.deal_commission c WHERE c.deal_key = d.deal_key),
         'gone', d.gone)
  FROM warehouse.deal d
 WHERE d.tenant = $1`

	sqlDealLinks = `
SELECT deal_key, deal_id FROM followupboss.deal_link WHERE tenant = $1`

	sqlOffsets = `
SELECT topic, part, coalesce(next_offset, 0) FROM {schema}.consumer_offsets`

	sqlLinks = `
SELECT resource_key, deal_key FROM warehouse.resource_link WHERE deal_key IS NOT NULL`

	sqlDocuments = `
SELECT resource_key, count(*) FROM warehouse.deal_document GROUP BY resource_key`

	sqlUnlinked = `
SELECT resource FROM translate.link_wait`

	// An envelope without a deal waits for it: what belongs to one, the judge finds by its signatures.
	sqlQueue = `
SELECT key_id, cause, detail FROM {schema}.queued_key WHERE cause <> 'no deal yet'`

	sqlOpen = `
SELECT eid::text, line FROM {schema}.ledger WHERE state IN (1, 5)`

	// Applied effects of one key whose times are not in the order of their positions. Batch flushes
	// give many rows one time, so equal times are in order.
	sqlDisorder = `
SELECT key_id, pos
  FROM (SELECT key_id, pos, done_at,
               max(done_at) OVER (PARTITION BY topic, part, key_id ORDER BY pos RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
          FROM {schema}.ledger
         WHERE state = 2 AND key_id IS NOT NULL) AS l
 WHERE done_at < before`

	// Records that nobody will drain: their key's row is gone.
	sqlOrphans = `
SELECT q.topic, q.part, q.pos, q.cause
  FROM {schema}.queued_record q
 WHERE q.state = 1
   AND NOT EXISTS (SELECT 1 FROM {schema}.queued_key k WHERE k.topic = q.topic AND k.key_id = q.key_id)`

	// The timeline is of class A: each event once, unless the ledger's rows were dropped.
	sqlTwice = `
SELECT event_id::text, count(*)
  FROM timeline.entry
 WHERE event_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM timeline.ledger_gap)
 GROUP BY event_id
HAVING count(*) > 1`

	// Of topics whose records have UUIDs: those of events.
	sqlRecorded = `
SELECT DISTINCT eid, topic, part, pos FROM {schema}.ledger WHERE topic IN ('deals.v1', 'contacts.v1', 'links.v1')`

	sqlDone = `
SELECT topic, part, pos, min(done_at), max(done_at)
  FROM {schema}.ledger
 WHERE state = 2 AND key_id IS NOT NULL
 GROUP BY topic, part, pos`

	sqlQueued = `SELECT topic, part, pos, state FROM {schema}.queued_record`
	sqlGap    = `SELECT 1 FROM {schema}.ledger_gap LIMIT 1`

	sqlDirty = `
SELECT key, coalesce(cause, '') FROM "fetch".resource WHERE dirty_since IS NOT NULL`
)

func (b Bench) dealLinks(ctx context.Context, tenant string) (map[string]int64, error) {
	rows, err := b.Pool.Query(ctx, sqlDealLinks, tenant)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	links := map[string]int64{}
	for rows.Next() {
		var key string
		var id int64
		if err := rows.Scan(&key, &id); err != nil {
			return nil, err
		}
		links[key] = id
	}
	return links, rows.Err()
}

// engine looks for what has not come to its end: records before the log's end, the queue, effects
// without an end state, resources not read; and for effects of a key out of order.
func (b Bench) engine(ctx context.Context, v *Verdict) error {
	for group, schema := range b.Groups {
		if err := b.offsets(ctx, v, group, schema); err != nil {
			return err
		}
		for _, look := range []struct {
			sql, what string
			into      *[]string
		}{
			{sqlQueue, "key in the queue", &v.Unexplained},
			{sqlOpen, "effect without an end", &v.Unexplained},
			{sqlOrphans, "record left in the queue", &v.Lost},
			{sqlDisorder, "effect before its predecessor", &v.Misordered},
		} {
			if look.sql == sqlDisorder && b.Log != nil {
				continue // the books see it, by the log's keys
			}
			if err := b.each(ctx, postgres.In(schema, look.sql), func(cells []any) {
				*look.into = append(*look.into, fmt.Sprintf("%s: %s: %v", group, look.what, cells))
			}); err != nil {
				return err
			}
		}
	}
	if err := b.each(ctx, sqlTwice, func(cells []any) {
		v.Duplicated = append(v.Duplicated, fmt.Sprintf("timeline tells event %v %v times", cells[0], cells[1]))
	}); err != nil {
		return err
	}
	return b.each(ctx, sqlDirty, func(cells []any) {
		v.Unexplained = append(v.Unexplained, fmt.Sprintf("fetch: not read: %v", cells))
	})
}

func (b Bench) offsets(ctx context.Context, v *Verdict, group, schema string) error {
	return b.each(ctx, postgres.In(schema, sqlOffsets), func(cells []any) {
		place := fmt.Sprintf("%v/%v", cells[0], cells[1])
		if end, ok := b.Ends[place]; ok && cells[2] != end {
			v.Unexplained = append(v.Unexplained, fmt.Sprintf("%s stands at %v of %s, whose end is %d", group, cells[2], place, end))
		}
	})
}

func (b Bench) each(ctx context.Context, sql string, fn func([]any)) error {
	rows, err := b.Pool.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		cells, err := rows.Values()
		if err != nil {
			return err
		}
		fn(cells)
	}
	return rows.Err()
}
