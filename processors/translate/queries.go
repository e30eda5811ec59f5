package translate

const (
	// The primary key serves it. It only reads.
	sqlLoad = `
SELECT resource, version, token, gone_token, revision, digest, body, first_read_at, read_at
  FROM {schema}.translate_state
 WHERE lane = $1
   AND resource = ANY($2)`

	// The primary key serves it. It runs behind the compare of the offset (protocol.md 5, 9), so it is
	// never replayed by another owner; the same owner writes the same again. A body that is NULL is
	// the one that is there.
	sqlSave = `
INSERT INTO {schema}.translate_state AS s
       (lane, resource, version, token, gone_token, revision, digest, body, first_read_at, read_at)
SELECT $1, u.*
  FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::bytea[],
              $9::timestamptz[], $10::timestamptz[]) AS u
ON CONFLICT (lane, resource) DO UPDATE
   SET version = EXCLUDED.version,
       token = EXCLUDED.token,
       gone_token = EXCLUDED.gone_token,
       revision = EXCLUDED.revision,
       digest = EXCLUDED.digest,
       body = COALESCE(EXCLUDED.body, s.body),
       read_at = EXCLUDED.read_at`

	// The primary key serves it. A fetch becomes one revision once: a repeat changes nothing.
	sqlRevisions = `
INSERT INTO {schema}.translate_revision (resource, token, revision)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
ON CONFLICT (resource, token) DO NOTHING`
)
