package fetch

// Times are parameters everywhere: one clock per process, which tests may hold. A clock that runs
// ahead makes a lease end early, which the tokens make harmless.

// Rows of resources. Statements that touch several rows lock them in the order of their keys.
const (
	// By primary key. Repeating it leaves the duty as it is, with one hint more: one more read.
	// A row that already waits keeps its time and its parking; a live hint pulls it into the live lane.
	// A clean one waits until it may be read again, and says so ($11).
	sqlMark = `
INSERT INTO {schema}.resource AS r
       (key, tenant, vendor, account, kind, id, lane, wanted, hinted_by, hints, dirty_since, not_before)
SELECT key, tenant, vendor, account, kind, id, lane, wanted, hinted_by, 1, $10, $10
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
              $7::smallint[], $8::bigint[], $9::text[])
       AS h (key, tenant, vendor, account, kind, id, lane, wanted, hinted_by)
 ORDER BY key
    ON CONFLICT (key) DO UPDATE
   SET hints       = r.hints + 1,
       hinted_by   = EXCLUDED.hinted_by,
       wanted      = GREATEST(r.wanted, EXCLUDED.wanted),
       lane        = CASE WHEN r.dirty_since IS NULL THEN EXCLUDED.lane ELSE LEAST(r.lane, EXCLUDED.lane) END,
       not_before  = CASE WHEN r.dirty_since IS NULL THEN GREATEST(EXCLUDED.not_before, r.again_at) ELSE r.not_before END,
       cause       = CASE WHEN r.dirty_since IS NULL AND r.again_at > EXCLUDED.not_before THEN $11 ELSE r.cause END,
       dirty_since = COALESCE(r.dirty_since, EXCLUDED.dirty_since)`

	// By primary key. Repeating it does nothing.
	sqlKnow = `
INSERT INTO {schema}.resource (key, tenant, vendor, account, kind, id)
SELECT key, tenant, vendor, account, kind, id
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
       AS f (key, tenant, vendor, account, kind, id)
 ORDER BY key
    ON CONFLICT (key) DO NOTHING`

	// By primary key. Reads only: a row in which something waits to be read may be other than what is
	// kept of it.
	sqlKept = `
SELECT key, hints, kept FROM {schema}.resource
 WHERE key = ANY ($1::text[]) AND kept IS NOT NULL AND dirty_since IS NULL`

	// By primary key. protocol.md 18b: a record that came by itself starts like a fetch only where no
	// fetch is open or unfinished, it is not gone, and its version is higher; one that was completed
	// ($4 is not -1) besides only where no hint has come since it was. Repeating it starts nothing, since
	// the row is open: what came becomes a hint. A row with token 0 was not started; same says that it
	// brings nothing new.
	sqlStartFacts = `
WITH seen AS MATERIALIZED (
  SELECT r.key, r.started, r.done, r.gone, r.version, r.digest, f.version AS new_version, f.digest AS new_digest,
         f.hints IN (-1, r.hints) AS unhinted
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) AS f (key, version, digest, hints)
    JOIN {schema}.resource r USING (key)
   ORDER BY r.key
     FOR UPDATE OF r
), begun AS (
  UPDATE {schema}.resource r
     SET started = {schema}.next_token()
    FROM seen
   WHERE r.key = seen.key
     AND seen.started = seen.done
     AND NOT seen.gone
     AND seen.new_version > seen.version
     AND seen.unhinted
  RETURNING r.key, r.started
)
SELECT seen.key, COALESCE(begun.started, 0) AS token,
       seen.started = seen.done AND NOT seen.gone
         AND seen.new_version = seen.version AND seen.new_digest = seen.digest AS same
  FROM seen LEFT JOIN begun USING (key)`

	// By primary key. protocol.md 20: only where no fetch started since; repeating it writes the same.
	sqlFinishFacts = `
WITH mine AS MATERIALIZED (
  SELECT r.key, f.version, f.digest, f.read_at, f.kept
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[], $6::bytea[])
         AS f (key, token, version, digest, read_at, kept)
    JOIN {schema}.resource r ON r.key = f.key AND r.started = f.token
   ORDER BY r.key
     FOR UPDATE OF r
)
UPDATE {schema}.resource r
   SET done = r.started, version = mine.version, digest = mine.digest, read_at = mine.read_at, kept = mine.kept
  FROM mine
 WHERE r.key = mine.key`

	// resource_due, walked from account to account: its cost grows with the accounts that wait, not
	// with their rows. Reads only.
	sqlDue = `
WITH RECURSIVE place AS (
  (SELECT lane, account_key FROM {schema}.resource WHERE not_before IS NOT NULL ORDER BY lane, account_key LIMIT 1)
  UNION ALL
  SELECT n.lane, n.account_key
    FROM place p CROSS JOIN LATERAL (
      SELECT lane, account_key FROM {schema}.resource
       WHERE not_before IS NOT NULL AND (lane, account_key) > (p.lane, p.account_key)
       ORDER BY lane, account_key LIMIT 1) n
)
SELECT p.lane, d.tenant, d.vendor, d.account, d.n
  FROM place p
 CROSS JOIN LATERAL (
       SELECT count(*) AS n, min(tenant) AS tenant, min(vendor) AS vendor, min(account) AS account
         FROM (SELECT tenant, vendor, account FROM {schema}.resource
                WHERE lane = p.lane AND account_key = p.account_key AND not_before <= $1
                LIMIT $2) waiting) d
 WHERE d.n > 0
   AND NOT EXISTS (
       SELECT FROM {schema}.hold h WHERE h.account_key = p.account_key AND h.lane <= p.lane AND h.until > $1)
 ORDER BY p.lane, p.account_key`

	// resource_due. protocol.md 18: the token is drawn and committed here, before the call. Repeating
	// it takes other rows; a row whose taker died comes back when its lease ends, and where its vendor
	// has a rule ($6), when a call at the lease's end would be old enough.
	sqlTake = `
WITH pick AS MATERIALIZED (
  SELECT r.key, r.started <> r.done AS unfinished, r.again_at AS before,
         $5::timestamptz + s.again * interval '1 ms' AS after, s.again > 0 AS ruled
    FROM unnest($1::smallint[], $2::text[], $3::int[], $6::bigint[]) AS s (lane, account_key, n, again)
   CROSS JOIN LATERAL (
         SELECT key, started, done, again_at FROM {schema}.resource
          WHERE lane = s.lane AND account_key = s.account_key AND not_before <= $4
          ORDER BY not_before
          LIMIT s.n
            FOR UPDATE SKIP LOCKED) r
)
UPDATE {schema}.resource r
   SET started = {schema}.next_token(), lease_until = $5, not_before = pick.after,
       again_at = CASE WHEN pick.ruled THEN pick.after ELSE r.again_at END
  FROM pick
 WHERE r.key = pick.key
RETURNING r.key, r.tenant, r.vendor, r.account, r.kind, r.id, r.started, pick.unfinished, r.hints, r.wanted, r.lane,
          r.attempts, r.asked, r.version, r.digest, r.gone, r.hinted_by, COALESCE(r.dirty_since, $4), pick.before`

	// By primary key. protocol.md 20: only where no fetch started since. $3: the answer is what is held
	// from now on. $8: nothing is left unfinished. $9: the duty is done, unless a hint came since the
	// token (protocol.md 19); then it waits until $13, for $19. $18: when the record may be read again.
	// Repeating it writes the same.
	sqlSettle = `
UPDATE {schema}.resource
   SET version     = CASE WHEN $3 THEN $4 ELSE version END,
       digest      = CASE WHEN $3 THEN $5 ELSE digest END,
       gone        = CASE WHEN $3 THEN $6 ELSE gone END,
       read_at     = CASE WHEN $3 THEN $7 ELSE read_at END,
       kept        = CASE WHEN $3 THEN $20::bytea ELSE kept END,
       done        = CASE WHEN $8 THEN started ELSE done END,
       dirty_since = CASE WHEN NOT $9 THEN dirty_since WHEN hints = $10 THEN NULL ELSE $11::timestamptz END,
       not_before  = CASE WHEN NOT $9 THEN $12::timestamptz WHEN hints = $10 THEN NULL ELSE $13::timestamptz END,
       wanted      = CASE WHEN $9 AND hints = $10 THEN 0 ELSE wanted END,
       lease_until = NULL,
       attempts    = $14,
       asked       = $15,
       cause       = CASE WHEN $9 AND hints <> $10 THEN $19 ELSE $16 END,
       detail      = $17,
       again_at    = $18
 WHERE key = $1 AND started = $2`
)

// Holds of accounts.
const (
	// By primary key. A hold only grows: the vendor said so to one of several calls.
	sqlHold = `
INSERT INTO {schema}.hold AS h (account_key, tenant, vendor, account, until, since, cause, detail, lane)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (account_key, lane) DO UPDATE
   SET since  = CASE WHEN h.until < $6 THEN EXCLUDED.since ELSE h.since END,
       until  = GREATEST(h.until, EXCLUDED.until),
       cause  = EXCLUDED.cause,
       detail = EXCLUDED.detail`
)

// Polls, all by primary key; there are as many rows as accounts.
const (
	// Repeating it does nothing.
	sqlEnroll = `
INSERT INTO {schema}.poll (account_key, tenant, vendor, account, due)
SELECT account_key, tenant, vendor, account, $5
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS a (account_key, tenant, vendor, account)
 ORDER BY account_key
    ON CONFLICT (account_key) DO NOTHING`

	// Repeating it leases other polls; a poll whose poller died comes back when its lease ends.
	sqlLease = `
WITH pick AS MATERIALIZED (
  SELECT account_key
    FROM {schema}.poll p
   WHERE account_key = ANY ($1::text[])
     AND due <= $2
     AND (lease_until IS NULL OR lease_until <= $2)
     AND (cursor IS NULL) = $3
     AND NOT EXISTS (
         SELECT FROM {schema}.hold h
          WHERE h.account_key = p.account_key AND h.until > $2 AND (h.lane = 1 OR p.cursor IS NULL))
   ORDER BY due
   LIMIT $4
     FOR UPDATE SKIP LOCKED
)
UPDATE {schema}.poll p
   SET lease_owner = gen_random_uuid(), lease_until = $5
  FROM pick
 WHERE p.account_key = pick.account_key
RETURNING p.tenant, p.vendor, p.account, p.cursor, p.lease_owner, p.attempts`

	// Only the owner of the lease; a poller that lost it learns so by 0 rows.
	sqlRenew = `
UPDATE {schema}.poll SET lease_until = $3 WHERE account_key = $1 AND lease_owner = $2`

	// Only the owner of the lease moves the cursor; the lease ends with it, so that a repeat does nothing.
	sqlPolled = `
UPDATE {schema}.poll
   SET cursor = $3, polled_at = $4, due = $5, attempts = 0, cause = '', detail = '',
       lease_owner = NULL, lease_until = NULL
 WHERE account_key = $1 AND lease_owner = $2`

	// As sqlPolled, for a poll that did not reach its end: the cursor stays.
	sqlNotPolled = `
UPDATE {schema}.poll
   SET due = $3, attempts = $4, cause = $5, detail = $6, lease_owner = NULL, lease_until = NULL
 WHERE account_key = $1 AND lease_owner = $2`

	sqlPollAges = `
SELECT tenant, vendor, account, polled_at FROM {schema}.poll WHERE polled_at IS NOT NULL`
)
