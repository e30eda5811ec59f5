package ledger

// Every statement of a turn is by primary key, over arrays (unnest), whatever the number of rows.
// LATERAL with LIMIT 1 makes each lookup one descent of that key's index: a join could be planned
// as a scan of a table that is never purged.

// The claim and what it reads.
const (
	// After a failover the new timeline stands in the name of the log file at once, in the control
	// file only after the next checkpoint.
	sqlTimeline = `
SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int`

	// Primary key, locked in order. Repeating it only makes the caller the owner again.
	sqlClaim = `
INSERT INTO {schema}.consumer_offsets AS c (topic, part, owner, timeline)
SELECT topic, part, gen_random_uuid(), $3
  FROM unnest($1::text[], $2::int[]) AS u(topic, part)
 ORDER BY topic, part
ON CONFLICT (topic, part) DO UPDATE
   SET epoch = c.epoch + 1, owner = gen_random_uuid(), seq = 0, timeline = EXCLUDED.timeline, claimed_at = now()
RETURNING topic, part, next_offset, owner, epoch, topic_id, doubt_until, rewound_from`

	// Primary key. The compare with seq 0 makes a repeat a no-op.
	sqlResolve = `
UPDATE {schema}.consumer_offsets c
   SET seq = 1, next_offset = COALESCE(c.next_offset, u.next), topic_id = COALESCE(c.topic_id, u.topic_id),
       doubt_until = GREATEST(c.doubt_until, u.doubt)
  FROM unnest($1::text[], $2::int[], $3::uuid[], $4::bigint[], $5::uuid[], $6::bigint[])
       AS u(topic, part, owner, next, topic_id, doubt)
 WHERE c.topic = u.topic AND c.part = u.part AND c.owner = u.owner AND c.seq = 0
RETURNING c.topic, c.part`

	// Index (topic, part) WHERE state = 1.
	sqlBusy = `
SELECT l.topic, l.part, l.eid, l.step, l.pos, COALESCE(l.key_id, ''), COALESCE(l.claimed_at, now())
  FROM {schema}.ledger l
  JOIN unnest($1::text[], $2::int[]) AS u(topic, part) ON l.topic = u.topic AND l.part = u.part
 WHERE l.state = 1`

	// Index (topic, part); the first open record by the index of open records.
	sqlKeys = `
SELECT k.topic, k.part, k.key_id, k.tenant, k.kind, k.scope, k.cause, k.detail, k.since, k.due, k.count,
       COALESCE(r.attempts, 0)
  FROM {schema}.queued_key k
  JOIN unnest($1::text[], $2::int[]) AS u(topic, part) ON k.topic = u.topic AND k.part = u.part
  LEFT JOIN LATERAL (SELECT attempts FROM {schema}.queued_record q
                      WHERE q.topic = k.topic AND q.key_id = k.key_id AND q.state = 1
                      ORDER BY q.pos LIMIT 1) r ON true`

	// Primary key, one descent per partition.
	sqlQueuedTop = `
SELECT u.topic, u.part, r.pos
  FROM unnest($1::text[], $2::int[]) AS u(topic, part)
 CROSS JOIN LATERAL (SELECT pos FROM {schema}.queued_record q
                      WHERE q.topic = u.topic AND q.part = u.part
                      ORDER BY q.pos DESC LIMIT 1) r`

	// Primary key.
	sqlQueuedAt = `
SELECT pos
  FROM {schema}.queued_record
 WHERE topic = $1 AND part = $2 AND pos BETWEEN $3 AND $4`

	// Index of open records, one descent per key.
	sqlQueuedRecords = `
SELECT r.*
  FROM unnest($2::text[]) AS u(key_id)
 CROSS JOIN LATERAL (SELECT topic, part, pos, key_id, key, value, headers, at, cause, attempts
                       FROM {schema}.queued_record q
                      WHERE q.topic = $1 AND q.key_id = u.key_id AND q.state = 1
                      ORDER BY q.pos LIMIT $3) r
 ORDER BY r.key_id, r.pos`

	// Primary key.
	sqlOwner = `
SELECT owner FROM {schema}.consumer_offsets WHERE topic = $1 AND part = $2`
)

// The pulse, once a second.
const (
	// Primary key.
	sqlOwners = `
SELECT c.topic, c.part, c.owner, c.seq
  FROM {schema}.consumer_offsets c
  JOIN unnest($1::text[], $2::int[]) AS u(topic, part) ON c.topic = u.topic AND c.part = u.part`

	// Index (topic, part) WHERE release_wanted.
	sqlWishes = `
SELECT k.topic, k.part, k.key_id, GREATEST(k.wish, 1), COALESCE(k.wish_pos, -1), COALESCE(k.wanted_at, k.since)
  FROM {schema}.queued_key k
  JOIN unnest($1::text[], $2::int[]) AS u(topic, part) ON k.topic = u.topic AND k.part = u.part
 WHERE k.release_wanted`

	// readbacksMax is how many effects are read back in one pulse: a vendor's quota is not spent on
	// sweeps.
	readbacksMax = 10

	// Index (topic, part, due).
	sqlReadbacks = `
SELECT b.topic, b.part, b.eid, b.step, b.pos, b.round
  FROM {schema}.readback b
  JOIN unnest($1::text[], $2::int[]) AS u(topic, part) ON b.topic = u.topic AND b.part = u.part
 WHERE b.due <= now()
 ORDER BY b.due
 LIMIT $3`

	// Primary key.
	sqlStillClaimed = `
SELECT u.eid, u.step
  FROM unnest($1::uuid[], $2::bigint[]) AS u(eid, step)
 CROSS JOIN LATERAL (SELECT 1 FROM {schema}.ledger l
                      WHERE l.eid = u.eid AND l.step = u.step AND l.state = 1 LIMIT 1) r`

	// Index (scope), locked in order. Twice is once.
	sqlWake = `
UPDATE {schema}.queued_key k
   SET release_wanted = true, wish = GREATEST(k.wish, 1), wanted_at = clock_timestamp()
  FROM (SELECT topic, key_id FROM {schema}.queued_key
         WHERE scope = ANY($1) AND kind IN (1, 2)
         ORDER BY topic, key_id FOR UPDATE) w
 WHERE k.topic = w.topic AND k.key_id = w.key_id`
)

// The turn.
const (
	// Primary key, in order, so that two processes never wait for each other crosswise.
	sqlLock = `
SELECT 1
  FROM {schema}.consumer_offsets c
  JOIN unnest($1::text[], $2::int[]) AS u(topic, part) ON c.topic = u.topic AND c.part = u.part
 ORDER BY c.topic, c.part
   FOR UPDATE OF c`

	// Primary key. The row stands as this very transaction leaves it: it was committed before.
	sqlBefore = `
SELECT c.topic, c.part
  FROM {schema}.consumer_offsets c
  JOIN unnest($1::text[], $2::int[], $3::uuid[], $4::bigint[]) AS u(topic, part, owner, seq)
    ON c.topic = u.topic AND c.part = u.part AND c.owner = u.owner AND c.seq = u.seq`

	// Primary key. Matches once per number: a replay finds the number moved.
	sqlCompare = `
UPDATE {schema}.consumer_offsets c
   SET seq = u.seq, next_offset = u.next
  FROM unnest($1::text[], $2::int[], $3::uuid[], $4::bigint[], $5::bigint[]) AS u(topic, part, owner, seq, next)
 WHERE c.topic = u.topic AND c.part = u.part AND c.owner = u.owner AND c.seq = u.seq - 1
RETURNING c.topic, c.part`

	// Primary key. Only a claim of the same owner is taken back.
	sqlUnclaim = `
DELETE FROM {schema}.ledger l
 USING unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS u(eid, step, owner)
 WHERE l.eid = u.eid AND l.step = u.step AND l.owner = u.owner AND l.state = 1`

	// Primary key. An end state is written over a claim only.
	sqlEnd = `
INSERT INTO {schema}.ledger AS l
       (eid, step, pos, topic, part, key_id, owner, state, vendor_ref, line, claimed_at, done_at)
SELECT eid, step, pos, topic, part, key_id, owner, state, NULLIF(ref, ''), NULLIF(line, ''), now(),
       CASE WHEN state <> 1 THEN now() END
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::int[], $6::text[], $7::uuid[], $8::smallint[],
              $9::text[], $10::text[])
       AS u(eid, step, pos, topic, part, key_id, owner, state, ref, line)
ON CONFLICT (eid, step) DO UPDATE
   SET state = EXCLUDED.state, done_at = EXCLUDED.done_at, owner = EXCLUDED.owner,
       vendor_ref = COALESCE(EXCLUDED.vendor_ref, l.vendor_ref), line = COALESCE(EXCLUDED.line, l.line)
 WHERE l.state = 1 AND EXCLUDED.state <> 1`

	// Primary key. Only upwards, so that a replay changes nothing.
	sqlGuard = `
INSERT INTO {schema}.versions AS v (resource, facet, revision, eid)
SELECT resource, facet, revision, eid
  FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[]) AS u(resource, facet, revision, eid)
 ORDER BY resource, facet
ON CONFLICT (resource, facet) DO UPDATE
   SET revision = EXCLUDED.revision, eid = EXCLUDED.eid
 WHERE v.revision < EXCLUDED.revision`

	// Primary key's first column.
	sqlDiscard = `
UPDATE {schema}.ledger
   SET state = 7, done_at = now()
 WHERE eid = ANY($1) AND state IN (1, 4, 5)`

	// Primary key.
	sqlFree = `
DELETE FROM {schema}.queued_key k
 USING unnest($1::text[], $2::text[]) AS u(topic, key_id)
 WHERE k.topic = u.topic AND k.key_id = u.key_id`

	// Primary key. A wish that the owner has not seen stays.
	sqlKey = `
INSERT INTO {schema}.queued_key AS k
       (topic, key_id, part, tenant, kind, scope, cause, detail, due, count, wanted_at)
SELECT topic, key_id, part, tenant, kind, scope, cause, detail, due, count, wanted_at
  FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::text[],
              $9::timestamptz[], $10::bigint[], $11::timestamptz[])
       AS u(topic, key_id, part, tenant, kind, scope, cause, detail, due, count, wanted_at)
 ORDER BY topic, key_id
ON CONFLICT (topic, key_id) DO UPDATE
   SET kind = EXCLUDED.kind, scope = EXCLUDED.scope, cause = EXCLUDED.cause, detail = EXCLUDED.detail,
       due = EXCLUDED.due, count = EXCLUDED.count,
       release_wanted = k.release_wanted AND k.wanted_at IS DISTINCT FROM EXCLUDED.wanted_at,
       wish = CASE WHEN k.wanted_at IS DISTINCT FROM EXCLUDED.wanted_at THEN k.wish ELSE 0 END`

	// Primary key; a replay finds the row.
	sqlRecord = `
INSERT INTO {schema}.queued_record (topic, part, pos, key_id, key, value, headers, at, cause, attempts)
SELECT topic, part, pos, key_id, key, value, headers::jsonb, at, cause, attempts
  FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::bytea[], $6::bytea[], $7::text[],
              $8::timestamptz[], $9::text[], $10::int[])
       AS u(topic, part, pos, key_id, key, value, headers, at, cause, attempts)
ON CONFLICT (topic, part, pos) DO NOTHING`

	// Primary key. Only what is open changes.
	sqlMark = `
UPDATE {schema}.queued_record q
   SET state = u.state, cause = u.cause, attempts = u.attempts
  FROM unnest($1::text[], $2::int[], $3::bigint[], $4::smallint[], $5::text[], $6::int[])
       AS u(topic, part, pos, state, cause, attempts)
 WHERE q.topic = u.topic AND q.part = u.part AND q.pos = u.pos AND q.state = 1`

	// Primary key.
	sqlReadback = `
INSERT INTO {schema}.readback AS b (eid, step, due, round, topic, part, pos)
SELECT eid, step, due, round, topic, part, pos
  FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::smallint[], $5::text[], $6::int[], $7::bigint[])
       AS u(eid, step, due, round, topic, part, pos)
ON CONFLICT (eid, step) DO UPDATE SET due = EXCLUDED.due, round = EXCLUDED.round`

	// The table holds a day of the rarest effects.
	sqlReadbackOver = `
DELETE FROM {schema}.readback WHERE round = 0`

	// Primary keys.
	sqlFind = `
SELECT u.ord, l.state, l.owner, l.pos, l.claimed_at,
       v.revision > u.revision OR (v.revision = u.revision AND v.eid <> u.eid),
       v.revision = u.revision AND v.eid = u.eid
  FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])
       WITH ORDINALITY AS u(eid, step, resource, facet, revision, ord)
  LEFT JOIN LATERAL (SELECT state, owner, pos, claimed_at FROM {schema}.ledger l
                      WHERE l.eid = u.eid AND l.step = u.step LIMIT 1) l ON true
  LEFT JOIN LATERAL (SELECT revision, eid FROM {schema}.versions v
                      WHERE v.resource = u.resource AND v.facet = u.facet LIMIT 1) v ON true`

	// Primary key. The lock holds off a purge until this turn's claims stand (protocol.md 43).
	sqlGaps = `
SELECT g.tenant, g.month::text
  FROM {schema}.ledger_gap g
 WHERE (g.tenant, g.month) IN (SELECT tenant, month::date FROM unnest($1::text[], $2::text[]) AS u(tenant, month))
   FOR SHARE`

	// Primary key. On the word of a person who saw the effect at the destination (protocol.md 7).
	sqlInPlace = `
UPDATE {schema}.ledger l
   SET state = 2, owner = u.owner, done_at = now()
  FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS u(eid, step, owner)
 WHERE l.eid = u.eid AND l.step = u.step AND l.state = 5`

	// Primary key. The only way from an end state back, on a person's word (protocol.md 7).
	sqlReclaim = `
UPDATE {schema}.ledger l
   SET state = 1, owner = u.owner, done_at = NULL, claimed_at = now()
  FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS u(eid, step, owner)
 WHERE l.eid = u.eid AND l.step = u.step AND l.state IN (4, 5)`

	// No index: insert only.
	sqlEvidence = `
INSERT INTO {schema}.call_evidence (eid, step, owner, outcome)
SELECT eid, step, owner, outcome
  FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[]) AS u(eid, step, owner, outcome)`
)

// Class A and the ledger's months.
const (
	// Primary key; a copy, in this batch or before, has no effect (protocol.md 12).
	sqlFresh = `
INSERT INTO {schema}.ledger (eid, step, pos, topic, part, state, done_at)
SELECT eid, step, pos, topic, part, 2, now()
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::int[]) AS u(eid, step, pos, topic, part)
ON CONFLICT (eid, step) DO NOTHING
RETURNING eid, step`

	// The catalog's cache.
	sqlMissing = `
SELECT ord FROM unnest($1::text[]) WITH ORDINALITY AS u(name, ord) WHERE to_regclass(name) IS NULL`

	sqlMonthLock = `SELECT pg_advisory_xact_lock(hashtext('conveyance.ledger.' || $1))`
	// Index (relname, relnamespace). The table itself is asked, not the catalog's cache, which still says
	// what it said before the lock was waited for.
	sqlMonthGone = `
SELECT NOT EXISTS (
  SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = $1 AND c.relname = $2)`

	// The names and bounds are filled in by makeMonths.
	sqlMonth = `
CREATE TABLE %s (LIKE {schema}.ledger INCLUDING ALL);
ALTER TABLE {schema}.ledger ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')`
)

// What operators see and ask.
const (
	filter = `
 WHERE ($1 = '' OR topic = $1) AND ($2 = '' OR tenant = $2) AND ($3 = '' OR cause = $3)
   AND ($4 = '' OR key_id = $4) AND ($5 = '' OR scope = $5) AND ($6 = 0 OR kind = $6)`

	// The table holds keys that wait, a small part of all.
	sqlList = `
SELECT topic, part, key_id, tenant, kind, scope, cause, detail, since, due, release_wanted, count
  FROM {schema}.queued_key` + filter + `
 ORDER BY since, topic, key_id
 LIMIT $7`

	sqlSums = `
SELECT kind, cause, scope, sum(count)::bigint, count(*), min(since), min(due)
  FROM {schema}.queued_key
 GROUP BY kind, cause, scope
 ORDER BY 4 DESC`

	// Locked in order. The audit is written with the wish.
	sqlWish = `
WITH k AS (
  SELECT topic, key_id FROM {schema}.queued_key` + filter + `
   ORDER BY topic, key_id LIMIT $7 FOR UPDATE),
w AS (
  UPDATE {schema}.queued_key q
     SET release_wanted = true, wish = $8, wanted_at = clock_timestamp(),
         wish_pos = (SELECT min(pos) FROM {schema}.queued_record r
                      WHERE r.topic = q.topic AND r.key_id = q.key_id AND r.state = 1)
    FROM k WHERE q.topic = k.topic AND q.key_id = k.key_id
  RETURNING q.topic, q.key_id)
INSERT INTO {schema}.queue_audit (actor, action, topic, key_id, reason)
SELECT $10, $9, topic, key_id, $11 FROM w`

	// Primary key's first column, one descent per event and month.
	sqlEffects = `
SELECT l.eid, l.step, l.state, l.topic, l.part, l.pos, l.claimed_at, l.done_at,
       COALESCE(l.vendor_ref, ''), COALESCE(l.line, '')
  FROM unnest($1::uuid[]) AS u(eid)
 CROSS JOIN LATERAL (SELECT * FROM {schema}.ledger l WHERE l.eid = u.eid LIMIT 100) l
 ORDER BY COALESCE(l.claimed_at, l.done_at), l.step`

	// Rare rows.
	sqlEvidenceOf = `
SELECT at, eid, step, owner, outcome FROM {schema}.call_evidence WHERE eid = $1 ORDER BY id`

	sqlRecentEvidence = `
SELECT at, eid, step, owner, outcome FROM {schema}.call_evidence ORDER BY id DESC LIMIT $1`

	sqlOffsets = `
SELECT topic, part, next_offset, owner, epoch, claimed_at FROM {schema}.consumer_offsets ORDER BY topic, part`

	// Primary key. The row does not change where an effect is open in between.
	sqlRewind = `
WITH was AS (
  SELECT topic, part, COALESCE(next_offset, 0) AS next
    FROM {schema}.consumer_offsets WHERE topic = $1 AND part = $2 FOR UPDATE),
open AS (
  SELECT EXISTS (SELECT 1 FROM {schema}.ledger l, was
                  WHERE l.topic = $1 AND l.part = $2 AND l.state = 1 AND l.pos >= was.next AND l.pos < $3) AS is),
moved AS (
  UPDATE {schema}.consumer_offsets c
     SET next_offset = $3, owner = gen_random_uuid(), epoch = c.epoch + 1, seq = 0, claimed_at = now(),
         rewound_from = GREATEST(c.rewound_from, was.next)
    FROM was, open WHERE c.topic = was.topic AND c.part = was.part AND NOT open.is
  RETURNING c.topic, c.part),
audit AS (
  INSERT INTO {schema}.queue_audit (actor, action, topic, key_id, reason)
  SELECT $4, 'rewind to ' || $3::bigint, topic, 'partition ' || part, $5 FROM moved)
SELECT open.is FROM open, was`
)
