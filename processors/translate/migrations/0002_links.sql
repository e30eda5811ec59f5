-- What ties records that are no deals to the deals that they belong to.
-- +goose Up
ALTER TABLE {schema}.translate_state
  ADD COLUMN claims bigint NOT NULL DEFAULT 0; -- digest of the deal's claims as they stand in deal_claim; 0 = none
COMMENT ON COLUMN {schema}.translate_state.claims IS 'Keyed digest of the claims that were written last: they are written only where it differs.';

CREATE TABLE {schema}.deal_claim (
  tenant   text COLLATE "C" NOT NULL,
  kind     text COLLATE "C" NOT NULL,    -- deal_id mls escrow_no email address
  claim    text COLLATE "C" NOT NULL,    -- HMAC under the tenant's key, with the kind in it
  deal_key text COLLATE "C" NOT NULL
);
CREATE INDEX ON {schema}.deal_claim (claim);
CREATE INDEX ON {schema}.deal_claim (deal_key);
COMMENT ON TABLE {schema}.deal_claim IS 'What each deal that is there claims. Moves with the offset of the deal''s record.';

CREATE TABLE {schema}.link_decision (
  resource text COLLATE "C" NOT NULL,
  seq      bigint NOT NULL,              -- from 1, without gaps
  tenant   text NOT NULL,
  deal_key text COLLATE "C",             -- NULL = the link before is undone
  rung     text NOT NULL,                -- LinkRung: which evidence decided; PERSON by hand
  evidence text NOT NULL,                -- shared claims as kind:HMAC, with a space between two
  actor    text,                         -- NULL = the ladder
  reason   text NOT NULL,
  at       timestamptz NOT NULL,
  PRIMARY KEY (resource, seq)
);
CREATE INDEX ON {schema}.link_decision (deal_key) WHERE deal_key IS NOT NULL;
COMMENT ON TABLE {schema}.link_decision IS 'Which deal a record belongs to: the highest number is in force. Each is written once, before it is acted upon, and never changed: it is the history and the audit, too.';

CREATE TABLE {schema}.link_acted (
  resource text COLLATE "C" PRIMARY KEY,
  seq      bigint NOT NULL
);
COMMENT ON TABLE {schema}.link_acted IS 'The decision whose events are on the bus. Moves with the offset.';

CREATE TABLE {schema}.link_wait (
  resource text COLLATE "C" PRIMARY KEY,
  tenant   text NOT NULL,
  undone   boolean NOT NULL,             -- a person undid its link: only a person decides again
  since    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {schema}.link_wait IS 'Records that somebody signed, and that have no deal.';

CREATE TABLE {schema}.waiting_claim (
  resource text COLLATE "C" NOT NULL REFERENCES {schema}.link_wait ON DELETE CASCADE,
  tenant   text COLLATE "C" NOT NULL,
  kind     text COLLATE "C" NOT NULL,
  claim    text COLLATE "C" NOT NULL,
  PRIMARY KEY (resource, claim)
);
CREATE INDEX ON {schema}.waiting_claim (claim);
COMMENT ON TABLE {schema}.waiting_claim IS 'What they claim: a deal that comes to share one wakes them.';
