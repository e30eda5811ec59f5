-- What is known of every record at every vendor, what has to be read, and where the polls stand.
-- +goose Up

-- CACHE 1: over all sessions a later token is a larger one, which is what orders equal versions.
CREATE SEQUENCE {schema}.fetch_token CACHE 1;

CREATE TABLE {schema}.resource (
  key         text PRIMARY KEY,             -- tenant/vendor/account/kind/id, each part escaped
  tenant      text NOT NULL,
  vendor      text NOT NULL,
  account     text NOT NULL,
  kind        text NOT NULL,
  id          text NOT NULL,
  account_key text GENERATED ALWAYS AS (tenant || '/' || vendor || '/' || account) STORED,
  -- the duty to read it
  dirty_since timestamptz,                  -- NULL = clean
  hints       bigint   NOT NULL DEFAULT 0,  -- ever; a fetch that saw fewer than there are now leaves the duty
  hinted_by   text     NOT NULL DEFAULT '', -- what the last hint came from
  wanted      bigint   NOT NULL DEFAULT 0,  -- highest version that a hint of this duty named
  lane        smallint NOT NULL DEFAULT 1,  -- 1 live 2 backfill
  not_before  timestamptz,                  -- no worker takes it before; NULL = never by itself: clean or parked
  lease_until timestamptz,                  -- a worker has it until then; not_before is the same time
  attempts    int      NOT NULL DEFAULT 0,  -- failures in a row
  asked       int      NOT NULL DEFAULT 0,  -- answers in a row that were older than what is known
  cause       text     NOT NULL DEFAULT '', -- why it waits
  detail      text     NOT NULL DEFAULT '', -- the error, without secrets or personal data
  -- what the snapshots topic was given last (protocol.md 18-21)
  started     bigint   NOT NULL DEFAULT 0,  -- token of the last fetch that began
  done        bigint   NOT NULL DEFAULT 0,  -- equal to started = no fetch is open and none was left unfinished
  version     bigint   NOT NULL DEFAULT 0,
  digest      text     NOT NULL DEFAULT '', -- empty = nothing held
  gone        boolean  NOT NULL DEFAULT false,
  read_at     timestamptz                   -- when what is held was read
);
CREATE INDEX resource_due ON {schema}.resource (lane, account_key, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX resource_dirty ON {schema}.resource (account_key, cause) WHERE dirty_since IS NOT NULL;
COMMENT ON TABLE {schema}.resource IS 'One row per vendor record, for ever: whether it must be read, what keeps it from being read, and what was read last.';

CREATE TABLE {schema}.hold (
  account_key text NOT NULL,
  lane        smallint NOT NULL,            -- 1 holds all, 2 backfill alone: its part of the budget is spent
  tenant      text NOT NULL,
  vendor      text NOT NULL,
  account     text NOT NULL,
  until       timestamptz NOT NULL,         -- all replicas leave the account alone before
  since       timestamptz NOT NULL,
  cause       text NOT NULL,
  detail      text NOT NULL,
  PRIMARY KEY (account_key, lane)
);
COMMENT ON TABLE {schema}.hold IS 'Accounts that must not be called now: budget spent, credential refused. Nothing of them spends an attempt.';

CREATE TABLE {schema}.poll (
  account_key text PRIMARY KEY,
  tenant      text NOT NULL,
  vendor      text NOT NULL,
  account     text NOT NULL,
  cursor      jsonb,                        -- NULL = never polled to an end
  due         timestamptz,                  -- NULL = parked
  lease_owner uuid,                         -- the token that moves the cursor
  lease_until timestamptz,
  polled_at   timestamptz,                  -- start of the last poll that reached its end
  attempts    int  NOT NULL DEFAULT 0,
  cause       text NOT NULL DEFAULT '',
  detail      text NOT NULL DEFAULT ''
);
COMMENT ON TABLE {schema}.poll IS 'Where the poll of each account stands, and who polls it now.';

CREATE TABLE {schema}.audit (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at     timestamptz NOT NULL,
  actor  text   NOT NULL,
  action text   NOT NULL,
  target jsonb  NOT NULL,
  count  bigint NOT NULL
);
COMMENT ON TABLE {schema}.audit IS 'What people did to the rows.';
