-- What is known of every record at every vendor, so that the next snapshot of it can be told apart.
-- +goose Up
CREATE TABLE {schema}.translate_state (
  lane          text   NOT NULL,           -- live; a shadow run has a lane of its own
  resource      text   NOT NULL,           -- tenant/vendor/account/kind/id, each part escaped
  version       bigint NOT NULL,           -- the vendor's, of the accepted snapshot; 0 = none, or gone
  token         bigint NOT NULL,           -- the fetch's, of the accepted snapshot; orders equal versions
  gone_token    bigint NOT NULL DEFAULT 0, -- of the last tombstone; equal to token = the record is gone
  revision      bigint NOT NULL,           -- accepted content changes, from 1; 0 = only a tombstone was seen
  digest        text   NOT NULL,           -- of the accepted content; empty while gone
  body          bytea,                     -- the last snapshot that held content, as it stands in the log, in s2
  first_read_at timestamptz NOT NULL,      -- when the first accepted snapshot was read
  read_at       timestamptz NOT NULL,      -- when the accepted one was
  PRIMARY KEY (lane, resource)
) WITH (
  toast_tuple_target = 4080,  -- a usual body stays in its row: writing it takes a third of the time
  fillfactor = 50             -- room for the next state on the same page: then no index is written
);
-- It is compressed already: Postgres's own pglz takes longer than everything else on the row.
ALTER TABLE {schema}.translate_state ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON TABLE {schema}.translate_state IS 'The last accepted snapshot of each record and how often it changed. Moves with the offset.';

CREATE TABLE {schema}.translate_revision (
  resource text   NOT NULL,
  token    bigint NOT NULL,
  revision bigint NOT NULL,
  PRIMARY KEY (token, resource)            -- tokens rise: new rows go to the end of the index, wherever their records are
);
COMMENT ON TABLE {schema}.translate_revision IS 'Which fetch became which revision, for ever: another lane looks numbers up here, and never counts them again from a log that was cut.';
