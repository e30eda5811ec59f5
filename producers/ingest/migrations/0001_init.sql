-- What came at the door, by account and hour: enough to tell a silent account from a quiet time, and a
-- rotated secret from a stranger. Nothing here holds a body, a token or a key.
-- +goose Up
CREATE TABLE {schema}.came (
  tenant  text NOT NULL,
  vendor  text NOT NULL,
  account text NOT NULL,
  hour    timestamptz NOT NULL,             -- its beginning
  n       bigint NOT NULL,                  -- signed deliveries, whatever became of them
  PRIMARY KEY (tenant, vendor, account, hour)
);
COMMENT ON TABLE {schema}.came IS 'Signed deliveries by account and hour; hours without one have no row. Kept for some weeks.';

CREATE TABLE {schema}.open_hour (
  hour  timestamptz PRIMARY KEY,
  slots int NOT NULL                        -- one bit for each five minutes in which some door was open
);
COMMENT ON TABLE {schema}.open_hour IS 'When deliveries could be heard at all: what nobody heard is no silence.';

CREATE TABLE {schema}.account (
  tenant      text NOT NULL,
  vendor      text NOT NULL,
  account     text NOT NULL,
  came_at     timestamptz,                  -- the last signed delivery
  refused_at  timestamptz,                  -- the last delivery whose signature no live key made
  run         int NOT NULL DEFAULT 0,       -- how many were refused with no long pause between them
  run_since   timestamptz,
  PRIMARY KEY (tenant, vendor, account)
);
COMMENT ON TABLE {schema}.account IS 'The last that each account''s endpoint has seen.';

CREATE TABLE {schema}.key_used (
  tenant  text NOT NULL,
  vendor  text NOT NULL,
  account text NOT NULL,
  key     text NOT NULL,                    -- the key's id, never the key
  used_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, vendor, account, key)
);
COMMENT ON TABLE {schema}.key_used IS 'When each key last signed a delivery: a key that signs no more may be taken away.';

CREATE TABLE {schema}.alarm (
  tenant  text NOT NULL,
  vendor  text NOT NULL,
  account text NOT NULL,
  kind    text NOT NULL,                    -- silent, rotated secret?
  since   timestamptz NOT NULL,
  detail  text NOT NULL,
  PRIMARY KEY (tenant, vendor, account, kind)
);
COMMENT ON TABLE {schema}.alarm IS 'What a person should look at now; a row goes when it is over.';
