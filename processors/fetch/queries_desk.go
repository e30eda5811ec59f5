package fetch

// What operators ask and do. An empty text in a filter means all.
const (
	// resource_dirty: its cost grows with the rows that wait. Reads only.
	sqlStuck = `
SELECT r.tenant, r.vendor, r.account, r.not_before IS NULL AS parked,
       CASE WHEN r.not_before IS NULL THEN r.cause ELSE COALESCE(h.cause, r.cause) END AS why,
       h.until IS NOT NULL AS held,
       count(*), min(r.dirty_since),
       CASE WHEN bool_or(r.not_before IS NULL) THEN NULL ELSE GREATEST(min(r.not_before), max(h.until)) END
  FROM {schema}.resource r
  LEFT JOIN LATERAL (
       SELECT until, cause, detail FROM {schema}.hold
        WHERE account_key = r.account_key AND until > $1 AND lane <= r.lane
        ORDER BY until DESC LIMIT 1) h ON true
 WHERE r.dirty_since IS NOT NULL
   AND ($2 = '' OR r.tenant = $2) AND ($3 = '' OR r.vendor = $3) AND ($4 = '' OR r.account = $4)
   AND ($5 = '' OR r.key = $5) AND ($6 = '' OR r.cause = $6 OR h.cause = $6)
 GROUP BY 1, 2, 3, 4, 5, 6
 ORDER BY 8`

	// The table itself: as many rows as accounts. Reads only.
	sqlStuckPolls = `
SELECT p.tenant, p.vendor, p.account, p.due IS NULL AS parked, COALESCE(h.cause, p.cause) AS why,
       h.until IS NOT NULL AS held, p.polled_at, GREATEST(p.due, h.until)
  FROM {schema}.poll p
  LEFT JOIN LATERAL (
       SELECT until, cause, detail FROM {schema}.hold
        WHERE account_key = p.account_key AND until > $1 AND (lane = 1 OR p.cursor IS NULL)
        ORDER BY until DESC LIMIT 1) h ON true
 WHERE (p.cause <> '' OR h.until IS NOT NULL)
   AND ($2 = '' OR p.tenant = $2) AND ($3 = '' OR p.vendor = $3) AND ($4 = '' OR p.account = $4)
   AND ($5 = '' OR p.cause = $5 OR h.cause = $5)
 ORDER BY p.account_key`

	// By primary key. Reads only.
	sqlWhy = `
SELECT r.dirty_since, r.hinted_by, r.lane, r.not_before, r.lease_until, r.attempts, r.asked, r.cause, r.detail,
       r.version, r.digest, r.gone, r.read_at, h.until, h.cause, h.detail
  FROM {schema}.resource r
  LEFT JOIN LATERAL (
       SELECT until, cause, detail FROM {schema}.hold
        WHERE account_key = r.account_key AND until > $2 AND lane <= r.lane
        ORDER BY until DESC LIMIT 1) h ON true
 WHERE r.key = $1`

	// resource_dirty. A row that a worker has stays with it, and nobody makes a vendor's rule shorter: a
	// row waits on until it may be read again, for $7. Repeating it makes the rows due again.
	sqlRelease = `
UPDATE {schema}.resource
   SET not_before = GREATEST($1, again_at), attempts = 0, asked = 0,
       cause = CASE WHEN again_at > $1 THEN $7 ELSE '' END, detail = ''
 WHERE dirty_since IS NOT NULL
   AND (lease_until IS NULL OR lease_until <= $1)
   AND (not_before IS NULL OR not_before > GREATEST($1, again_at))
   AND ($2 = '' OR tenant = $2) AND ($3 = '' OR vendor = $3) AND ($4 = '' OR account = $4)
   AND ($5 = '' OR key = $5) AND ($6 = '' OR cause = $6)`

	// The table itself: as many rows as accounts. Repeating it makes the polls due again.
	sqlReleasePolls = `
UPDATE {schema}.poll
   SET due = $1, attempts = 0, cause = '', detail = ''
 WHERE cause <> ''
   AND ($2 = '' OR tenant = $2) AND ($3 = '' OR vendor = $3) AND ($4 = '' OR account = $4) AND ($5 = '' OR cause = $5)`

	// The table itself: as many rows as accounts. Repeating it does nothing.
	sqlLift = `
DELETE FROM {schema}.hold
 WHERE ($1 = '' OR tenant = $1) AND ($2 = '' OR vendor = $2) AND ($3 = '' OR account = $3) AND ($4 = '' OR cause = $4)`

	// The tables themselves: as many rows as accounts. Repeating it does nothing.
	sqlWake = `
WITH lifted AS (
  DELETE FROM {schema}.hold
   WHERE 'account:' || account_key = ANY ($1::text[]) OR 'tenant:' || tenant = ANY ($1::text[])
  RETURNING account_key
), polls AS (
  UPDATE {schema}.poll
     SET due = $2
   WHERE account_key IN (SELECT account_key FROM lifted) AND cause <> '' AND due > $2
)
SELECT count(*) FROM lifted`

	// Appends. A repeat is a second line, as the person asked twice.
	sqlAudit = `
INSERT INTO {schema}.audit (at, actor, action, target, count) VALUES ($1, $2, $3, $4, $5)`

	// resource_dirty, whole. Reads only.
	sqlDirty = `
SELECT vendor, lane, count(*) FROM {schema}.resource WHERE dirty_since IS NOT NULL GROUP BY vendor, lane`
)
