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
)
