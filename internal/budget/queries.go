package budget

// Each is one statement of a batch that Postgres runs as one transaction. The primary keys serve
// all of them. A batch that is sent again grants again: tokens are lost by it, never doubled.
const (
	sqlEnsure = `
INSERT INTO {schema}.account_quota (vendor, account, bucket)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING`

	// The lock is a statement of its own: the grant's snapshot must be younger than the lock, or it
	// would not see what the holder before it granted.
	sqlLock = `
SELECT calls, window_ms
  FROM {schema}.account_quota
 WHERE vendor = $1 AND account = $2 AND bucket = $3
   FOR UPDATE`

	// Grants up to $4 calls where those of the last $6 leave room below $5, and says how long a
	// lane without room waits: until enough old grants are out of the horizon, and no closing holds.
	// Nothing is granted where the stored quota is not the one ($7, $8) from which $5 and $6 were made.
	sqlGrant = `
WITH quota AS MATERIALIZED (
  SELECT coalesce($9::timestamptz, clock_timestamp()) AS now,
         q.closed_until,
         q.calls IS NOT DISTINCT FROM $7::int AND q.window_ms IS NOT DISTINCT FROM $8::bigint AS known
    FROM {schema}.account_quota q
   WHERE q.vendor = $1 AND q.account = $2 AND q.bucket = $3
), recent AS MATERIALIZED (
  SELECT g.at, g.n, sum(g.n) OVER (ORDER BY g.at) AS upto
    FROM {schema}.token_grant g, quota
   WHERE g.vendor = $1 AND g.account = $2 AND g.bucket = $3
     AND g.at > quota.now - $6::interval
), room AS MATERIALIZED (
  SELECT $5::int - coalesce(sum(n), 0)::int AS n FROM recent
), granted AS (
  INSERT INTO {schema}.token_grant AS t (vendor, account, bucket, at, n)
  SELECT $1, $2, $3, quota.now, least($4::int, room.n)
    FROM quota, room
   WHERE quota.known AND room.n > 0
     AND (quota.closed_until IS NULL OR quota.closed_until <= quota.now)
  ON CONFLICT (vendor, account, bucket, at) DO UPDATE SET n = t.n + EXCLUDED.n
  RETURNING 1
)
SELECT CASE WHEN EXISTS (SELECT FROM granted) THEN least($4::int, room.n) ELSE 0 END,
       greatest(interval '0', quota.closed_until - quota.now,
         (SELECT recent.at + $6::interval - quota.now
            FROM recent
           WHERE recent.upto > -room.n AND room.n <= 0
           ORDER BY recent.at
           LIMIT 1))
  FROM quota, room`

	sqlPurge = `
DELETE FROM {schema}.token_grant
 WHERE vendor = $1 AND account = $2 AND bucket = $3
   AND at < coalesce($5::timestamptz, clock_timestamp()) - $4::interval`

	// Nothing is made worse by a repeat: the later closing and the last word hold.
	sqlLearn = `
INSERT INTO {schema}.account_quota AS q (vendor, account, bucket, calls, window_ms, closed_until, learned_at)
VALUES ($1, $2, $3, $4, $5, coalesce($7::timestamptz, clock_timestamp()) + $6::interval, now())
ON CONFLICT (vendor, account, bucket) DO UPDATE
   SET calls        = coalesce(EXCLUDED.calls, q.calls),
       window_ms    = coalesce(EXCLUDED.window_ms, q.window_ms),
       closed_until = greatest(q.closed_until, EXCLUDED.closed_until),
       learned_at   = EXCLUDED.learned_at`
)
