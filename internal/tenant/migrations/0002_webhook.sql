-- Where vendors deliver, with which keys they sign, and how accounts are connected.
-- +goose Up
CREATE TABLE {schema}.webhook_endpoint (
  tenant       text        NOT NULL,
  vendor       text        NOT NULL,
  account      text        NOT NULL,
  token        bytea       NOT NULL,       -- sealed; the end of the path
  token_sha256 bytea       NOT NULL,       -- what a delivery's path is looked up by
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, vendor, account),
  UNIQUE (vendor, token_sha256),
  FOREIGN KEY (tenant, vendor, account) REFERENCES {schema}.account (tenant, vendor, name) ON DELETE CASCADE
);
COMMENT ON TABLE {schema}.webhook_endpoint IS 'The unguessable address of each account. Drawn at its first apply, never changed.';

CREATE TABLE {schema}.webhook_key (
  vendor     text  NOT NULL,
  tenant     text  NOT NULL,               -- '' with account '': of the vendor's whole system
  account    text  NOT NULL,
  id         text  NOT NULL,
  sealed     bytea NOT NULL,
  source     text  NOT NULL,               -- the reference in the file; never the secret
  not_before timestamptz,                  -- NULL = always has been
  not_after  timestamptz,                  -- NULL = no end
  updated_at timestamptz NOT NULL DEFAULT now(),
  updated_by text  NOT NULL,
  PRIMARY KEY (vendor, tenant, account, id)
);
COMMENT ON TABLE {schema}.webhook_key IS 'Keys with which vendors sign their deliveries, sealed with the operator''s key.';

CREATE TABLE {schema}.oauth_flow (
  state_sha256 bytea       PRIMARY KEY,
  tenant       text        NOT NULL,
  vendor       text        NOT NULL,
  account      text        NOT NULL,
  verifier     bytea       NOT NULL,       -- sealed; PKCE
  redirect     text        NOT NULL,       -- where the vendor sends the person back to
  expires_at   timestamptz NOT NULL,
  used_at      timestamptz,                -- a state counts once
  ended_at     timestamptz,
  outcome      text        NOT NULL DEFAULT '', -- what came of it, in a sentence; '' = connected
  FOREIGN KEY (tenant, vendor, account) REFERENCES {schema}.account (tenant, vendor, name) ON DELETE CASCADE
);
COMMENT ON TABLE {schema}.oauth_flow IS 'Consents that were asked for. The state itself is nowhere stored.';
CREATE INDEX oauth_flow_account ON {schema}.oauth_flow (tenant, vendor, account);
