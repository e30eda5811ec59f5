-- The engine's tables of one consumer group. The schema is the group, so no row repeats its name.
-- +goose Up
CREATE TABLE {schema}.consumer_offsets (
  topic       text     NOT NULL,
  part        int      NOT NULL,
  next_offset bigint,                       -- NULL = never read; resolved once from the group's start
  owner       uuid     NOT NULL,            -- the token that every transaction compares
  epoch       bigint   NOT NULL DEFAULT 1,  -- for people
  seq         bigint   NOT NULL DEFAULT 0,  -- number of the owner's last transaction
  topic_id    uuid,                         -- a re-created topic is another log
  timeline    int      NOT NULL DEFAULT 1,  -- Postgres's timeline at the claim (protocol.md 49)
  doubt_until bigint   NOT NULL DEFAULT 0,  -- positions below it without a ledger row are in doubt (protocol.md 49)
  rewound_from bigint  NOT NULL DEFAULT 0,  -- where a person's rewind began: Kafka's mirror may stand there
  claimed_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (topic, part)
);
COMMENT ON TABLE {schema}.consumer_offsets IS 'Where the group stands. Truth; the offsets in Kafka are a mirror for lag tools.';

-- Written once to an end state. Partitioned by the month in the first 48 bits of eid; months are made
-- on demand by the engine.
CREATE TABLE {schema}.ledger (
  eid        uuid     NOT NULL,
  step       bigint   NOT NULL,
  pos        bigint   NOT NULL,
  done_at    timestamptz,
  claimed_at timestamptz,                   -- the first claim's, never renewed; NULL in class A
  part       int      NOT NULL,
  state      smallint NOT NULL,             -- 1 claimed 2 applied 3 superseded 4 parked 5 unknown 6 refused 7 discarded
  owner      uuid,
  topic      text     NOT NULL,
  key_id     text,                          -- the record key; NULL in class A
  vendor_ref text,
  line       text,                          -- what was done, in a few words; no personal data
  PRIMARY KEY (eid, step)
) PARTITION BY RANGE (eid);
CREATE INDEX ON {schema}.ledger (topic, part) WHERE state = 1;
-- What lies outside the years of events, so that a row always has a place; months are made between.
CREATE TABLE {schema}.ledger_before PARTITION OF {schema}.ledger
  FOR VALUES FROM (MINVALUE) TO ('00dc6acf-ac00-0000-0000-000000000000'); -- 2000-01-01
CREATE TABLE {schema}.ledger_after PARTITION OF {schema}.ledger
  FOR VALUES FROM ('03bb2cc3-d800-0000-0000-000000000000') TO (MAXVALUE); -- 2100-01-01
COMMENT ON TABLE {schema}.ledger IS 'Each effect once: the row decides whether an event still has an effect here.';

CREATE TABLE {schema}.ledger_gap (
  tenant text NOT NULL,
  month  date NOT NULL,
  PRIMARY KEY (tenant, month)
);
COMMENT ON TABLE {schema}.ledger_gap IS 'Months of ids from which ledger rows were dropped: a missing row is not believed there (protocol.md 43).';

CREATE TABLE {schema}.versions (
  resource text   NOT NULL,
  facet    text   NOT NULL,
  revision bigint NOT NULL,
  eid      uuid   NOT NULL,
  PRIMARY KEY (resource, facet)
);
COMMENT ON TABLE {schema}.versions IS 'Highest applied revision per facet: nothing older is applied after it. Never purged.';

CREATE TABLE {schema}.queued_key (
  topic          text NOT NULL,
  key_id         text NOT NULL,
  part           int  NOT NULL,
  tenant         text NOT NULL,
  kind           smallint NOT NULL,         -- 1 waiting (clock) 2 held (scope) 3 parked (a person)
  scope          text NOT NULL,
  cause          text NOT NULL,
  detail         text NOT NULL,             -- the error, without secrets or personal data
  since          timestamptz NOT NULL DEFAULT now(),
  due            timestamptz,               -- when it is tried by itself; NULL = never
  release_wanted boolean NOT NULL DEFAULT false,
  wish           smallint NOT NULL DEFAULT 0, -- of a person, for the head: 0 none 1 release 2 drop 3 applied 4 send again
  wish_pos       bigint,                    -- the head that the person saw
  wanted_at      timestamptz,               -- tells one wish from the next
  count          bigint NOT NULL,           -- open records
  PRIMARY KEY (topic, key_id)
);
CREATE INDEX ON {schema}.queued_key (topic, part);
CREATE INDEX ON {schema}.queued_key (topic, part) WHERE release_wanted;
CREATE INDEX ON {schema}.queued_key (scope);
COMMENT ON TABLE {schema}.queued_key IS 'Keys whose records wait, and for what. Written by the partition''s owner alone, but for release_wanted.';

CREATE TABLE {schema}.queued_record (
  topic    text   NOT NULL,
  part     int    NOT NULL,
  pos      bigint NOT NULL,
  key_id   text   NOT NULL,
  key      bytea,
  value    bytea,
  headers  jsonb  NOT NULL,
  at       timestamptz NOT NULL,            -- the record's own time
  cause    text   NOT NULL,
  attempts int    NOT NULL DEFAULT 0,
  state    smallint NOT NULL DEFAULT 1,     -- 1 open 2 done 3 discarded
  PRIMARY KEY (topic, part, pos)
);
CREATE INDEX ON {schema}.queued_record (topic, key_id, pos) WHERE state = 1;
COMMENT ON TABLE {schema}.queued_record IS 'Raw records in the queue. Never deleted while the topic still has the position.';

CREATE TABLE {schema}.queue_audit (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at     timestamptz NOT NULL DEFAULT now(),
  actor  text NOT NULL,
  action text NOT NULL,                     -- release, drop, applied, send again
  topic  text NOT NULL,
  key_id text NOT NULL,
  reason text NOT NULL
);
COMMENT ON TABLE {schema}.queue_audit IS 'What people did to the queue.';

CREATE TABLE {schema}.call_evidence (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at      timestamptz NOT NULL DEFAULT now(),
  eid     uuid NOT NULL,
  step    bigint NOT NULL,
  owner   uuid NOT NULL,
  outcome text NOT NULL
);
COMMENT ON TABLE {schema}.call_evidence IS 'What a fenced owner had called, and how it ended. Insert only.';

CREATE TABLE {schema}.readback (
  eid    uuid   NOT NULL,
  step   bigint NOT NULL,
  due    timestamptz NOT NULL,
  round  smallint NOT NULL,                 -- 1 after 1 h, 2 after 24 h
  topic  text NOT NULL,
  part   int  NOT NULL,
  pos    bigint NOT NULL,
  PRIMARY KEY (eid, step)
);
CREATE INDEX ON {schema}.readback (topic, part, due);
COMMENT ON TABLE {schema}.readback IS 'Effects sent after a read-back, to be read back once more (protocol.md 36).';

CREATE TABLE {schema}.replay_cursor (
  job          uuid   NOT NULL,
  topic        text   NOT NULL,
  part         int    NOT NULL,
  next_offset  bigint NOT NULL,
  until_offset bigint NOT NULL,
  state        smallint NOT NULL,           -- 1 running 2 paused 3 done 4 cancelled
  PRIMARY KEY (job, topic, part)
);
COMMENT ON TABLE {schema}.replay_cursor IS 'A replay''s second cursor of the partition''s owner (protocol.md 41).';
