-- What may be called when: quotas of vendor accounts and the tokens that were granted of them.
-- +goose Up
CREATE TABLE {schema}.account_quota (
  vendor       text NOT NULL,
  account      text NOT NULL,               -- tenant/vendor/name
  bucket       text NOT NULL,               -- part of the vendor's API with a quota of its own; '' = all else
  calls        int,                         -- learned from the vendor's answers; NULL = the default holds
  window_ms    bigint,
  closed_until timestamptz,                 -- Retry-After
  learned_at   timestamptz,
  PRIMARY KEY (vendor, account, bucket)
);
COMMENT ON TABLE {schema}.account_quota IS 'What a vendor allows an account, as its answers say. Its row is the lock under which tokens are granted.';

CREATE TABLE {schema}.token_grant (
  vendor  text        NOT NULL,
  account text        NOT NULL,
  bucket  text        NOT NULL,
  at      timestamptz NOT NULL,
  n       int         NOT NULL,
  PRIMARY KEY (vendor, account, bucket, at)
);
COMMENT ON TABLE {schema}.token_grant IS 'Calls that were granted lately. Never given back; rows go once no window can hold them.';
