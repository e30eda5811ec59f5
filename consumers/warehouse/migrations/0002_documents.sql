-- Who signed what, and which deal it belongs to. The two come from two topics, between which there is
-- no order: the view puts them together.
-- +goose Up
CREATE TABLE {schema}.signature (
  resource_key      text NOT NULL,
  document_id       text NOT NULL,
  contact_key       text NOT NULL,
  tenant            text NOT NULL,
  envelope_id       text NOT NULL,
  document_name     text NOT NULL,
  full_name         text NOT NULL,
  emails            text[] NOT NULL,
  signer_role       text NOT NULL,
  signed_at         timestamptz NOT NULL,
  envelope_complete boolean NOT NULL,
  read_at           timestamptz NOT NULL,
  PRIMARY KEY (resource_key, document_id, contact_key)
);
COMMENT ON TABLE  {schema}.signature IS 'One row per signer and document: a fact, written once. Which deal it belongs to is in deal_document.';
COMMENT ON COLUMN {schema}.signature.resource_key IS 'The envelope: tenant/vendor/account/kind/id.';
COMMENT ON COLUMN {schema}.signature.document_id IS 'The vendor''s id of the document within its envelope.';
COMMENT ON COLUMN {schema}.signature.contact_key IS 'Pseudonym of the signer within the tenant, as in contact.';
COMMENT ON COLUMN {schema}.signature.tenant IS 'The brokerage.';
COMMENT ON COLUMN {schema}.signature.envelope_id IS 'The vendor''s id of the envelope.';
COMMENT ON COLUMN {schema}.signature.document_name IS 'PERSONAL DATA. The document''s name; agents put addresses into it.';
COMMENT ON COLUMN {schema}.signature.full_name IS 'PERSONAL DATA. The signer''s name as the vendor has it.';
COMMENT ON COLUMN {schema}.signature.emails IS 'PERSONAL DATA. The signer''s, lower case.';
COMMENT ON COLUMN {schema}.signature.signer_role IS 'The signer''s role in the vendor''s words.';
COMMENT ON COLUMN {schema}.signature.signed_at IS 'When, on the vendor''s clock.';
COMMENT ON COLUMN {schema}.signature.envelope_complete IS 'This signature was the last one that the envelope needed.';
COMMENT ON COLUMN {schema}.signature.read_at IS 'When the signature was read from the vendor, on the bus''s clock.';

CREATE TABLE {schema}.resource_link (
  resource_key text PRIMARY KEY,
  tenant       text NOT NULL,
  deal_key     text,
  revision     bigint NOT NULL,
  rung         text NOT NULL,
  read_at      timestamptz NOT NULL
);
CREATE INDEX ON {schema}.resource_link (deal_key);
COMMENT ON TABLE  {schema}.resource_link IS 'Which deal a vendor''s record belongs to.';
COMMENT ON COLUMN {schema}.resource_link.resource_key IS 'The record: tenant/vendor/account/kind/id.';
COMMENT ON COLUMN {schema}.resource_link.tenant IS 'The brokerage.';
COMMENT ON COLUMN {schema}.resource_link.deal_key IS 'The deal; null where the link was undone.';
COMMENT ON COLUMN {schema}.resource_link.revision IS 'Number of the decision. The row only ever moves to a higher one.';
COMMENT ON COLUMN {schema}.resource_link.rung IS 'Which evidence decided: DEAL_FIELD, MLS_OR_ESCROW, TWO_EMAILS, EMAIL_AND_ADDRESS; PERSON where somebody did.';
COMMENT ON COLUMN {schema}.resource_link.read_at IS 'When it was decided, on the bus''s clock.';

CREATE VIEW {schema}.deal_document AS
SELECT l.deal_key, s.tenant, s.resource_key, s.envelope_id, s.document_id, s.document_name,
       s.contact_key, s.full_name, s.signer_role, s.signed_at, s.envelope_complete, l.rung AS linked_by
  FROM {schema}.signature s
  JOIN {schema}.resource_link l ON l.resource_key = s.resource_key
 WHERE l.deal_key IS NOT NULL;
COMMENT ON VIEW {schema}.deal_document IS 'Signed documents of each deal, by the link in force.';
