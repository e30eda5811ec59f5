-- Which record of the CRM stands for which of ours. account is the vendor's id of the account: an id
-- of one account means nothing in another.
-- +goose Up
CREATE TABLE {schema}.person_link (
  tenant      text NOT NULL,
  account     text NOT NULL,
  contact_key text NOT NULL,
  person_id   bigint NOT NULL,
  PRIMARY KEY (tenant, account, contact_key)
);
COMMENT ON TABLE {schema}.person_link IS 'The person in Follow Up Boss of each contact; contact_key is a pseudonym.';

CREATE TABLE {schema}.deal_link (
  tenant   text NOT NULL,
  account  text NOT NULL,
  deal_key text NOT NULL,
  deal_id  bigint NOT NULL,
  people   bigint[] NOT NULL,               -- that we put on it last, to take off those who left
  users    bigint[] NOT NULL,
  PRIMARY KEY (tenant, account, deal_key)
);
COMMENT ON TABLE {schema}.deal_link IS 'The deal in Follow Up Boss of each deal, and whom we put on it.';
