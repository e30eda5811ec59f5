package translate

const (
	// The primary key serves it. It only reads.
	sqlLoad = `
SELECT resource, version, token, gone_token, revision, digest, body, first_read_at, read_at, claims
  FROM {schema}.translate_state
 WHERE lane = $1
   AND resource = ANY($2)`

	// The primary key serves it. It runs behind the compare of the offset (protocol.md 5, 9), so it is
	// never replayed by another owner; the same owner writes the same again. The bodies stand
	// behind one another in the last value; one of no size is the one that is there.
	sqlSave = `
INSERT INTO {schema}.translate_state AS s
       (lane, resource, version, token, gone_token, revision, digest, body, first_read_at, read_at, claims)
SELECT $1, u.resource, u.version, u.token, u.gone_token, u.revision, u.digest,
       CASE WHEN u.size > 0 THEN substring($12::bytea FROM u.at FOR u.size) END, u.first_read_at, u.read_at, u.claims
  FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::int[], $9::int[],
              $10::timestamptz[], $11::timestamptz[], $13::bigint[])
       AS u(resource, version, token, gone_token, revision, digest, at, size, first_read_at, read_at, claims)
ON CONFLICT (lane, resource) DO UPDATE
   SET version = EXCLUDED.version,
       token = EXCLUDED.token,
       gone_token = EXCLUDED.gone_token,
       revision = EXCLUDED.revision,
       digest = EXCLUDED.digest,
       body = COALESCE(EXCLUDED.body, s.body),
       read_at = EXCLUDED.read_at,
       claims = EXCLUDED.claims`

	// The primary key serves it. A fetch becomes one revision once: a repeat changes nothing.
	sqlRevisions = `
INSERT INTO {schema}.translate_revision (resource, token, revision)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
ON CONFLICT (token, resource) DO NOTHING`

	// The primary key serves it. It runs behind the compare of the offset (protocol.md 5), so that a replay
	// counts nothing twice. Rows are locked in order, and last in the transaction: batches of other
	// partitions that hold the same drift wait for the commit, never for one another.
	sqlDrift = `
INSERT INTO {schema}.drift AS d (vendor, path, kind, what, seen)
SELECT u.vendor, u.path, u.kind, u.what, u.seen
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) AS u(vendor, path, kind, what, seen)
 ORDER BY u.vendor COLLATE "C", u.path COLLATE "C", u.kind COLLATE "C", u.what COLLATE "C"
ON CONFLICT (vendor, path, kind, what) DO UPDATE
   SET seen = d.seen + EXCLUDED.seen, last_at = now()`

	// No index: the table is small. It only reads.
	sqlDrifts = `
SELECT vendor, path, kind, what, seen, first_at, last_at
  FROM {schema}.drift
 WHERE last_at > now() - $1::interval
 ORDER BY last_at DESC, vendor, path, kind, what`
)
