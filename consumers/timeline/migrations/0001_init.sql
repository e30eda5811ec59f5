-- Every deal's story, one line per step.
-- +goose Up
CREATE TABLE {schema}.entry (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant    text NOT NULL,
  deal_key  text NOT NULL,
  at        timestamptz NOT NULL,
  kind      text NOT NULL,
  topic     text NOT NULL,
  part      int NOT NULL,
  pos       bigint NOT NULL,
  event_id  uuid,
  version   bigint NOT NULL,
  line      text NOT NULL,
  UNIQUE (topic, part, pos, kind)
);
CREATE INDEX ON {schema}.entry (deal_key, at, id);
COMMENT ON TABLE  {schema}.entry IS 'What happened to a deal, step by step. Holds no personal data.';
COMMENT ON COLUMN {schema}.entry.id IS 'Rises in the order in which entries become visible, so that a reader can follow by it.';
COMMENT ON COLUMN {schema}.entry.tenant IS 'The brokerage.';
COMMENT ON COLUMN {schema}.entry.deal_key IS 'The deal: the key of its first record. A record that is tied to no deal stands under its own key; a delivery under none.';
COMMENT ON COLUMN {schema}.entry.at IS 'When the delivery came, the read began, the event was made; on the bus''s clock.';
COMMENT ON COLUMN {schema}.entry.kind IS 'hint, fact or meaning. Effects stand in the ledgers of their adapters.';
COMMENT ON COLUMN {schema}.entry.topic IS 'Topic of the record, without prefix; of a hint that is no record of its own, that of the fact to which it led.';
COMMENT ON COLUMN {schema}.entry.part IS 'Partition of the record.';
COMMENT ON COLUMN {schema}.entry.pos IS 'Offset of the record.';
COMMENT ON COLUMN {schema}.entry.event_id IS 'Id of the event; null for hints and facts.';
COMMENT ON COLUMN {schema}.entry.version IS 'Revision of an event, the vendor''s version of a fact, 0 for a hint.';
COMMENT ON COLUMN {schema}.entry.line IS 'What happened, in one line without personal data.';

CREATE TABLE {schema}.deal (
  deal_key  text PRIMARY KEY,
  tenant    text NOT NULL,
  source_id text NOT NULL
);
CREATE INDEX ON {schema}.deal (deal_key text_pattern_ops);
CREATE INDEX ON {schema}.deal (source_id text_pattern_ops);
COMMENT ON TABLE  {schema}.deal IS 'Deals that have entries, to find them by.';
COMMENT ON COLUMN {schema}.deal.deal_key IS 'The deal''s key on the bus.';
COMMENT ON COLUMN {schema}.deal.tenant IS 'The brokerage.';
COMMENT ON COLUMN {schema}.deal.source_id IS 'The vendor''s id of the deal''s first record.';
