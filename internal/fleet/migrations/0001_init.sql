-- Who runs and which consumer groups exist: what status, wake and held need to find everything.
-- +goose Up
CREATE TABLE {schema}.process (
  name       text NOT NULL,
  host       text NOT NULL,
  pid        int  NOT NULL,
  http       text NOT NULL,
  build      text NOT NULL,
  started_at timestamptz NOT NULL,
  seen_at    timestamptz NOT NULL,
  PRIMARY KEY (name, host, pid)
);
COMMENT ON TABLE {schema}.process IS 'Processes that run or ran lately; seen_at older than a few seconds means gone or frozen.';

CREATE TABLE {schema}.consumer_group (
  name   text PRIMARY KEY,
  schema text   NOT NULL,
  topics text[] NOT NULL,
  keyed  boolean NOT NULL,
  since  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {schema}.consumer_group IS 'Consumer groups that have ever joined: the schemas in which offsets and the queue lie.';
