package fleet

// The primary keys serve all of them; each row is its process's or group's own, so a repeat only
// writes the same again.
const (
	sqlBeat = `
INSERT INTO {schema}.process (name, host, pid, http, build, started_at, seen_at)
VALUES ($1, $2, $3, $4, $5, $6, now())
ON CONFLICT (name, host, pid) DO UPDATE SET http = EXCLUDED.http, seen_at = now(), started_at = EXCLUDED.started_at`

	sqlLeave = `
DELETE FROM {schema}.process WHERE name = $1 AND host = $2 AND pid = $3`

	// Rows of killed processes go when anyone beats: a day is long enough to ask what ran last night.
	sqlSweep = `
DELETE FROM {schema}.process WHERE seen_at < now() - interval '1 day'`

	sqlProcesses = `
SELECT name, host, pid, http, build, started_at, seen_at, seen_at > now() - $1::interval AS alive
  FROM {schema}.process
 ORDER BY name, started_at`

	sqlJoin = `
INSERT INTO {schema}.consumer_group (name, schema, topics, keyed)
VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET schema = EXCLUDED.schema, topics = EXCLUDED.topics, keyed = EXCLUDED.keyed`

	sqlGroups = `
SELECT name, schema, topics, keyed
  FROM {schema}.consumer_group
 ORDER BY name`
)
