package ingest

// Every process that serves a door writes and reads these. A primary key serves each statement unless
// its comment says otherwise.
const (
	// A count that is written twice after an unknown commit is a delivery too many among thousands.
	sqlCame = `
INSERT INTO {schema}.came AS c (tenant, vendor, account, hour, n)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[])
ON CONFLICT (tenant, vendor, account, hour) DO UPDATE SET n = c.n + EXCLUDED.n`

	// A replay sets the same bits.
	sqlOpen = `
INSERT INTO {schema}.open_hour AS o (hour, slots)
SELECT * FROM unnest($1::timestamptz[], $2::int[])
ON CONFLICT (hour) DO UPDATE SET slots = o.slots | EXCLUDED.slots`

	// Times only rise. A run goes on where the pause before it is no longer than $8; written twice, a run
	// is longer than it was, and an alarm that asks a question is asked a little early.
	sqlSeen = `
INSERT INTO {schema}.account AS a (tenant, vendor, account, came_at, refused_at, run, run_since)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::int[], $7::timestamptz[])
ON CONFLICT (tenant, vendor, account) DO UPDATE SET
       came_at    = GREATEST(a.came_at, EXCLUDED.came_at),
       refused_at = GREATEST(a.refused_at, EXCLUDED.refused_at),
       run        = CASE WHEN EXCLUDED.run = 0 THEN a.run
                         WHEN a.refused_at > EXCLUDED.run_since - $8::interval THEN a.run + EXCLUDED.run
                         ELSE EXCLUDED.run END,
       run_since  = CASE WHEN EXCLUDED.run = 0 OR a.refused_at > EXCLUDED.run_since - $8::interval
                         THEN COALESCE(a.run_since, EXCLUDED.run_since)
                         ELSE EXCLUDED.run_since END`

	// A replay writes the same times.
	sqlUsed = `
INSERT INTO {schema}.key_used AS k (tenant, vendor, account, key, used_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
ON CONFLICT (tenant, vendor, account, key) DO UPDATE SET used_at = GREATEST(k.used_at, EXCLUDED.used_at)`

	// A scan once an hour; the rows are some hundreds for each account.
	sqlHistory = `
SELECT tenant, vendor, account, hour, n
  FROM {schema}.came
 WHERE hour >= $1
 ORDER BY tenant, vendor, account, hour`

	sqlOpens = `
SELECT hour, slots
  FROM {schema}.open_hour
 WHERE hour >= $1`

	sqlAccounts = `
SELECT tenant, vendor, account, came_at, refused_at, run, run_since
  FROM {schema}.account`

	sqlKeys = `
SELECT tenant, vendor, account, key, used_at
  FROM {schema}.key_used
 ORDER BY tenant, vendor, account, key`

	// A scan, once an hour; what is gone is gone.
	sqlForget = `
DELETE FROM {schema}.came WHERE hour < $1`

	sqlForgetOpen = `
DELETE FROM {schema}.open_hour WHERE hour < $1`

	// An alarm that stands keeps its beginning and its words, whoever raises it again.
	sqlRaise = `
INSERT INTO {schema}.alarm (tenant, vendor, account, kind, since, detail)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
ON CONFLICT DO NOTHING
RETURNING tenant, vendor, account, kind, since, detail`

	sqlClear = `
DELETE FROM {schema}.alarm a
 USING unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS over(tenant, vendor, account, kind)
 WHERE (a.tenant, a.vendor, a.account, a.kind) = (over.tenant, over.vendor, over.account, over.kind)
RETURNING a.tenant, a.vendor, a.account, a.kind, a.since, a.detail`

	sqlAlarms = `
SELECT tenant, vendor, account, kind, since, detail
  FROM {schema}.alarm
 WHERE ($1 = '' OR tenant = $1) AND ($2 = '' OR vendor = $2) AND ($3 = '' OR account = $3)
 ORDER BY since, tenant, vendor, account, kind`
)
