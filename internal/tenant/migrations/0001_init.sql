-- Who the brokerages are, which accounts they have, and what they want done.
-- +goose Up
CREATE TABLE {schema}.tenant (
  id            text PRIMARY KEY,
  name          text        NOT NULL,
  time_zone     text        NOT NULL,
  paused_at     timestamptz,               -- by a person; NULL = running
  paused_by     text,
  pseudonym_key bytea       NOT NULL,      -- sealed; drawn once, never changed
  version       bigint      NOT NULL,      -- of the configuration
  created_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {schema}.tenant IS 'Brokerages. Written by tenant apply, pause and resume.';

CREATE TABLE {schema}.account (
  tenant       text        NOT NULL REFERENCES {schema}.tenant (id),
  vendor       text        NOT NULL,
  name         text        NOT NULL,
  external_id  text        NOT NULL,       -- the vendor's id
  base_url     text        NOT NULL,
  settings     jsonb       NOT NULL,
  paused_at    timestamptz,
  paused_by    text,
  created_at   timestamptz NOT NULL DEFAULT now(),
  refused      boolean     NOT NULL DEFAULT false,
  cause        text        NOT NULL DEFAULT '',
  health_since timestamptz NOT NULL DEFAULT now(),
  checked_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, vendor, name),
  -- Checked at commit, so that one apply may exchange two.
  CONSTRAINT account_external_id_once UNIQUE (vendor, external_id) DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE {schema}.account IS 'Logins of a tenant at a vendor, and what the vendor''s last answers said of them.';

CREATE TABLE {schema}.credential (
  tenant        text NOT NULL,
  vendor        text NOT NULL,
  account       text NOT NULL,
  sealed        bytea NOT NULL,            -- the fields, as JSON; bound to its account
  source        text  NOT NULL,            -- the reference in the tenant's file; never the secret
  access_token  bytea,                     -- sealed; OAuth
  refresh_token bytea,                     -- sealed; OAuth
  expires_at    timestamptz,
  updated_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, vendor, account),
  FOREIGN KEY (tenant, vendor, account) REFERENCES {schema}.account (tenant, vendor, name) ON DELETE CASCADE
);
COMMENT ON TABLE {schema}.credential IS 'What opens an account, sealed with the operator''s key.';

CREATE TABLE {schema}.adapter (
  tenant       text        NOT NULL REFERENCES {schema}.tenant (id),
  destination  text        NOT NULL,
  account      text        NOT NULL,       -- name of the account at the destination's vendor; '' = none
  effects_from timestamptz NOT NULL,       -- nothing older has an effect; never moves back but by a replay
  paused       boolean     NOT NULL,
  settings     jsonb       NOT NULL,
  removed_at   timestamptz,                -- kept for effects_from
  PRIMARY KEY (tenant, destination)
);
COMMENT ON TABLE {schema}.adapter IS 'What a tenant wants of a destination.';

CREATE TABLE {schema}.tenant_config (
  tenant  text        NOT NULL REFERENCES {schema}.tenant (id),
  version bigint      NOT NULL,
  at      timestamptz NOT NULL DEFAULT now(),
  by      text        NOT NULL,
  config  jsonb       NOT NULL,            -- the file as understood; credentials as references
  PRIMARY KEY (tenant, version)
);
COMMENT ON TABLE {schema}.tenant_config IS 'Every configuration that a tenant ever had. Insert only.';

CREATE TABLE {schema}.tenant_change (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  n   bigint NOT NULL
);
INSERT INTO {schema}.tenant_change (n) VALUES (1);
COMMENT ON TABLE {schema}.tenant_change IS 'Moves with every change of the tables above, so that readers look at one row.';
