-- Deals, their people, money and status history, for people who write SQL.
-- +goose Up
CREATE FUNCTION {schema}.major_units(minor bigint, currency text) RETURNS numeric
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE
    WHEN currency IN ('BIF','CLP','DJF','GNF','ISK','JPY','KMF','KRW','PYG','RWF','UGX','UYI','VND','VUV','XAF','XOF','XPF')
      THEN minor::numeric
    WHEN currency IN ('BHD','IQD','JOD','KWD','LYD','OMR','TND') THEN round(minor / 1000.0, 3)
    ELSE round(minor / 100.0, 2)
  END;
COMMENT ON FUNCTION {schema}.major_units IS 'An amount in minor units (cents) as a decimal number in major units (dollars), by ISO 4217.';

CREATE TABLE {schema}.deal (
  deal_key               text PRIMARY KEY,
  tenant                 text NOT NULL,
  vendor                 text NOT NULL,
  account                text NOT NULL,
  source_id              text NOT NULL,
  revision               bigint NOT NULL,
  read_at                timestamptz NOT NULL,
  changed_at             timestamptz,
  created_at             timestamptz,
  name                   text NOT NULL,
  status                 text NOT NULL,
  vendor_status          text NOT NULL,
  standard_status        text,
  stage                  text NOT NULL,
  archived               boolean NOT NULL,
  gone                   boolean NOT NULL,
  representation         text NOT NULL,
  deal_type              text NOT NULL,
  street                 text,
  unit_number            text,
  city                   text,
  state_or_province      text,
  postal_code            text,
  county_or_parish       text,
  country                text,
  listing_id             text NOT NULL,
  escrow_number          text NOT NULL,
  list_price_minor       bigint,
  list_price_currency    text,
  sale_price_minor       bigint,
  sale_price_currency    text,
  earnest_money_minor    bigint,
  earnest_money_currency text,
  purchase_contract_date date,
  listing_contract_date  date,
  expiration_date        date,
  projected_close_date   date,
  close_date             date,
  office_key             text NOT NULL
);
CREATE INDEX ON {schema}.deal (tenant, status);
COMMENT ON TABLE  {schema}.deal IS 'One row per deal, as its transaction system last described it. Amounts in minor units; deal_amount has them in major units.';
COMMENT ON COLUMN {schema}.deal.deal_key IS 'Key of the deal on the bus: tenant/vendor/account/kind/id of its first record.';
COMMENT ON COLUMN {schema}.deal.tenant IS 'The brokerage.';
COMMENT ON COLUMN {schema}.deal.vendor IS 'The transaction system, for example skyslope.';
COMMENT ON COLUMN {schema}.deal.account IS 'The brokerage''s account at the transaction system.';
COMMENT ON COLUMN {schema}.deal.source_id IS 'The transaction system''s own id of the deal.';
COMMENT ON COLUMN {schema}.deal.revision IS 'Count of the accepted changes of the record, from 1. The row only ever moves to a higher one.';
COMMENT ON COLUMN {schema}.deal.read_at IS 'When this state was read from the vendor, on the bus''s clock.';
COMMENT ON COLUMN {schema}.deal.changed_at IS 'When the vendor says that the record changed, on the vendor''s clock.';
COMMENT ON COLUMN {schema}.deal.created_at IS 'When the record was made, on the vendor''s clock.';
COMMENT ON COLUMN {schema}.deal.name IS 'PERSONAL DATA. A short name for people, mostly the street.';
COMMENT ON COLUMN {schema}.deal.status IS 'PRE_CONTRACT, UNDER_CONTRACT, CLOSED, CANCELLED, EXPIRED, WITHDRAWN; UNKNOWN where vendor_status is a word that the bus does not know.';
COMMENT ON COLUMN {schema}.deal.vendor_status IS 'The vendor''s word for the status, as it came.';
COMMENT ON COLUMN {schema}.deal.standard_status IS 'RESO StandardStatus of the listing that follows from the deal.';
COMMENT ON COLUMN {schema}.deal.stage IS 'The vendor''s workflow stage of the file, empty where it has none.';
COMMENT ON COLUMN {schema}.deal.archived IS 'The vendor put the file away; says nothing about the outcome.';
COMMENT ON COLUMN {schema}.deal.gone IS 'The vendor no longer has the record; the row is as it was last known.';
COMMENT ON COLUMN {schema}.deal.representation IS 'Whom the brokerage represents: BUYER, SELLER, BOTH or UNKNOWN.';
COMMENT ON COLUMN {schema}.deal.deal_type IS 'The vendor''s type of deal, for example Purchase.';
COMMENT ON COLUMN {schema}.deal.street IS 'PERSONAL DATA. Street of the property (RESO UnparsedAddress without unit).';
COMMENT ON COLUMN {schema}.deal.unit_number IS 'PERSONAL DATA. RESO UnitNumber of the property.';
COMMENT ON COLUMN {schema}.deal.city IS 'PERSONAL DATA. RESO City of the property.';
COMMENT ON COLUMN {schema}.deal.state_or_province IS 'RESO StateOrProvince of the property.';
COMMENT ON COLUMN {schema}.deal.postal_code IS 'PERSONAL DATA. RESO PostalCode of the property.';
COMMENT ON COLUMN {schema}.deal.county_or_parish IS 'RESO CountyOrParish of the property.';
COMMENT ON COLUMN {schema}.deal.country IS 'RESO Country of the property, ISO 3166-1 alpha-2.';
COMMENT ON COLUMN {schema}.deal.listing_id IS 'RESO ListingId at the MLS, empty where unknown.';
COMMENT ON COLUMN {schema}.deal.escrow_number IS 'Number of the escrow or title file, empty where unknown.';
COMMENT ON COLUMN {schema}.deal.list_price_minor IS 'RESO ListPrice in minor units.';
COMMENT ON COLUMN {schema}.deal.list_price_currency IS 'ISO 4217 currency of list_price_minor.';
COMMENT ON COLUMN {schema}.deal.sale_price_minor IS 'Agreed price in minor units; RESO ClosePrice once the deal is closed.';
COMMENT ON COLUMN {schema}.deal.sale_price_currency IS 'ISO 4217 currency of sale_price_minor.';
COMMENT ON COLUMN {schema}.deal.earnest_money_minor IS 'Earnest money deposit in minor units.';
COMMENT ON COLUMN {schema}.deal.earnest_money_currency IS 'ISO 4217 currency of earnest_money_minor.';
COMMENT ON COLUMN {schema}.deal.purchase_contract_date IS 'RESO PurchaseContractDate: mutual acceptance.';
COMMENT ON COLUMN {schema}.deal.listing_contract_date IS 'RESO ListingContractDate.';
COMMENT ON COLUMN {schema}.deal.expiration_date IS 'RESO ExpirationDate of the listing.';
COMMENT ON COLUMN {schema}.deal.projected_close_date IS 'When escrow is planned to close.';
COMMENT ON COLUMN {schema}.deal.close_date IS 'RESO CloseDate: when the deal closed.';
COMMENT ON COLUMN {schema}.deal.office_key IS 'RESO OfficeKey at the transaction system, empty where unknown.';

CREATE TABLE {schema}.deal_participant (
  deal_key          text NOT NULL,
  ordinal           int NOT NULL,
  revision          bigint NOT NULL,
  role              text NOT NULL,
  vendor_role       text NOT NULL,
  client            boolean NOT NULL,
  contact_key       text NOT NULL,
  source_key        text NOT NULL,
  first_name        text NOT NULL,
  last_name         text NOT NULL,
  full_name         text NOT NULL,
  company           text NOT NULL,
  emails            text[] NOT NULL,
  phones            text[] NOT NULL,
  street            text,
  unit_number       text,
  city              text,
  state_or_province text,
  postal_code       text,
  county_or_parish  text,
  country           text,
  PRIMARY KEY (deal_key, ordinal)
);
CREATE INDEX ON {schema}.deal_participant (contact_key);
COMMENT ON TABLE  {schema}.deal_participant IS 'Who takes part in a deal, without the brokerage''s own agents.';
COMMENT ON COLUMN {schema}.deal_participant.deal_key IS 'The deal.';
COMMENT ON COLUMN {schema}.deal_participant.ordinal IS 'Place in the vendor''s order, from 1.';
COMMENT ON COLUMN {schema}.deal_participant.revision IS 'Revision of the deal that this row belongs to.';
COMMENT ON COLUMN {schema}.deal_participant.role IS 'BUYER, SELLER, BUYER_ATTORNEY, SELLER_ATTORNEY, ESCROW_OFFICER, TITLE_OFFICER, LOAN_OFFICER, OTHER_SIDE_AGENT, TENANT, LANDLORD or OTHER.';
COMMENT ON COLUMN {schema}.deal_participant.vendor_role IS 'The vendor''s word for the role.';
COMMENT ON COLUMN {schema}.deal_participant.client IS 'On the side that the brokerage represents.';
COMMENT ON COLUMN {schema}.deal_participant.contact_key IS 'Pseudonym of the person within the tenant; joins contact.';
COMMENT ON COLUMN {schema}.deal_participant.source_key IS 'The vendor''s id of the contact, empty where it has none.';
COMMENT ON COLUMN {schema}.deal_participant.first_name IS 'PERSONAL DATA. RESO FirstName.';
COMMENT ON COLUMN {schema}.deal_participant.last_name IS 'PERSONAL DATA. RESO LastName.';
COMMENT ON COLUMN {schema}.deal_participant.full_name IS 'PERSONAL DATA. RESO FullName, as written.';
COMMENT ON COLUMN {schema}.deal_participant.company IS 'PERSONAL DATA. Company or trust, empty where a person.';
COMMENT ON COLUMN {schema}.deal_participant.emails IS 'PERSONAL DATA. Lower case, the preferred one first.';
COMMENT ON COLUMN {schema}.deal_participant.phones IS 'PERSONAL DATA. E.164 where readable so, the preferred one first.';
COMMENT ON COLUMN {schema}.deal_participant.street IS 'PERSONAL DATA. Street.';
COMMENT ON COLUMN {schema}.deal_participant.unit_number IS 'PERSONAL DATA. RESO UnitNumber.';
COMMENT ON COLUMN {schema}.deal_participant.city IS 'PERSONAL DATA. RESO City.';
COMMENT ON COLUMN {schema}.deal_participant.state_or_province IS 'RESO StateOrProvince.';
COMMENT ON COLUMN {schema}.deal_participant.postal_code IS 'PERSONAL DATA. RESO PostalCode.';
COMMENT ON COLUMN {schema}.deal_participant.county_or_parish IS 'RESO CountyOrParish.';
COMMENT ON COLUMN {schema}.deal_participant.country IS 'RESO Country, ISO 3166-1 alpha-2.';

CREATE TABLE {schema}.deal_agent (
  deal_key   text NOT NULL,
  ordinal    int NOT NULL,
  revision   bigint NOT NULL,
  member_key text NOT NULL,
  role       text NOT NULL,
  name       text NOT NULL,
  email      text NOT NULL,
  PRIMARY KEY (deal_key, ordinal)
);
CREATE INDEX ON {schema}.deal_agent (member_key);
COMMENT ON TABLE  {schema}.deal_agent IS 'The brokerage''s own agents on a deal, the primary one first.';
COMMENT ON COLUMN {schema}.deal_agent.deal_key IS 'The deal.';
COMMENT ON COLUMN {schema}.deal_agent.ordinal IS 'Place, from 1.';
COMMENT ON COLUMN {schema}.deal_agent.revision IS 'Revision of the deal that this row belongs to.';
COMMENT ON COLUMN {schema}.deal_agent.member_key IS 'RESO MemberKey: the vendor''s id of the agent.';
COMMENT ON COLUMN {schema}.deal_agent.role IS 'PRIMARY, CO_AGENT, COORDINATOR or OTHER.';
COMMENT ON COLUMN {schema}.deal_agent.name IS 'PERSONAL DATA. The agent''s name, empty where the vendor gives only an id.';
COMMENT ON COLUMN {schema}.deal_agent.email IS 'PERSONAL DATA. The agent''s e-mail, empty where unknown.';

CREATE TABLE {schema}.deal_commission (
  deal_key              text PRIMARY KEY,
  revision              bigint NOT NULL,
  final                 boolean NOT NULL,
  gross_minor           bigint,
  gross_currency        text,
  listing_side_minor    bigint,
  listing_side_currency text,
  buyer_side_minor      bigint,
  buyer_side_currency   text,
  referral_minor        bigint,
  referral_currency     text
);
COMMENT ON TABLE  {schema}.deal_commission IS 'The commission of a deal; no row where the vendor states none. deal_commission_amount has it in major units.';
COMMENT ON COLUMN {schema}.deal_commission.deal_key IS 'The deal.';
COMMENT ON COLUMN {schema}.deal_commission.revision IS 'Revision of the deal that this row belongs to.';
COMMENT ON COLUMN {schema}.deal_commission.final IS 'The deal is closed, and the amounts are what was paid.';
COMMENT ON COLUMN {schema}.deal_commission.gross_minor IS 'Gross commission of the office in minor units.';
COMMENT ON COLUMN {schema}.deal_commission.gross_currency IS 'ISO 4217 currency of gross_minor.';
COMMENT ON COLUMN {schema}.deal_commission.listing_side_minor IS 'Amount of the listing side in minor units.';
COMMENT ON COLUMN {schema}.deal_commission.listing_side_currency IS 'ISO 4217 currency of listing_side_minor.';
COMMENT ON COLUMN {schema}.deal_commission.buyer_side_minor IS 'Amount of the buyer''s side in minor units.';
COMMENT ON COLUMN {schema}.deal_commission.buyer_side_currency IS 'ISO 4217 currency of buyer_side_minor.';
COMMENT ON COLUMN {schema}.deal_commission.referral_minor IS 'Referral fee paid out, in minor units.';
COMMENT ON COLUMN {schema}.deal_commission.referral_currency IS 'ISO 4217 currency of referral_minor.';

CREATE TABLE {schema}.deal_fee (
  deal_key        text NOT NULL,
  ordinal         int NOT NULL,
  revision        bigint NOT NULL,
  name            text NOT NULL,
  amount_minor    bigint NOT NULL,
  amount_currency text NOT NULL,
  PRIMARY KEY (deal_key, ordinal)
);
COMMENT ON TABLE  {schema}.deal_fee IS 'Fees taken from a commission before the split, for example the coordinator''s.';
COMMENT ON COLUMN {schema}.deal_fee.deal_key IS 'The deal.';
COMMENT ON COLUMN {schema}.deal_fee.ordinal IS 'Place in the vendor''s order, from 1.';
COMMENT ON COLUMN {schema}.deal_fee.revision IS 'Revision of the deal that this row belongs to.';
COMMENT ON COLUMN {schema}.deal_fee.name IS 'What the fee is for, in the vendor''s words.';
COMMENT ON COLUMN {schema}.deal_fee.amount_minor IS 'Amount in minor units.';
COMMENT ON COLUMN {schema}.deal_fee.amount_currency IS 'ISO 4217 currency of amount_minor.';

CREATE TABLE {schema}.deal_payee (
  deal_key        text NOT NULL,
  ordinal         int NOT NULL,
  revision        bigint NOT NULL,
  payee_key       text NOT NULL,
  name            text NOT NULL,
  role            text NOT NULL,
  basis_points    int,
  amount_minor    bigint,
  amount_currency text,
  PRIMARY KEY (deal_key, ordinal)
);
CREATE INDEX ON {schema}.deal_payee (payee_key);
COMMENT ON TABLE  {schema}.deal_payee IS 'How a commission is split. deal_payee_amount has the amounts in major units.';
COMMENT ON COLUMN {schema}.deal_payee.deal_key IS 'The deal.';
COMMENT ON COLUMN {schema}.deal_payee.ordinal IS 'Place in the vendor''s order, from 1.';
COMMENT ON COLUMN {schema}.deal_payee.revision IS 'Revision of the deal that this row belongs to.';
COMMENT ON COLUMN {schema}.deal_payee.payee_key IS 'The vendor''s id of the payee, else a pseudonym of the name.';
COMMENT ON COLUMN {schema}.deal_payee.name IS 'PERSONAL DATA. The payee''s name.';
COMMENT ON COLUMN {schema}.deal_payee.role IS 'The payee''s role in the vendor''s words, for example Listing Agent.';
COMMENT ON COLUMN {schema}.deal_payee.basis_points IS 'Share of the gross in hundredths of a percent, where the vendor states one.';
COMMENT ON COLUMN {schema}.deal_payee.amount_minor IS 'Amount in minor units, where the vendor states one.';
COMMENT ON COLUMN {schema}.deal_payee.amount_currency IS 'ISO 4217 currency of amount_minor.';

CREATE TABLE {schema}.deal_status_history (
  event_id               uuid PRIMARY KEY,
  deal_key               text NOT NULL,
  tenant                 text NOT NULL,
  revision               bigint NOT NULL,
  status                 text NOT NULL,
  previous_status        text,
  vendor_status          text NOT NULL,
  previous_vendor_status text,
  read_at                timestamptz NOT NULL,
  changed_at             timestamptz
);
CREATE INDEX ON {schema}.deal_status_history (deal_key, revision);
COMMENT ON TABLE  {schema}.deal_status_history IS 'Every change of a deal''s status that the bus saw, once; order it by revision.';
COMMENT ON COLUMN {schema}.deal_status_history.event_id IS 'Id of the event on the bus.';
COMMENT ON COLUMN {schema}.deal_status_history.deal_key IS 'The deal.';
COMMENT ON COLUMN {schema}.deal_status_history.tenant IS 'The brokerage.';
COMMENT ON COLUMN {schema}.deal_status_history.revision IS 'Revision of the deal at which the status changed.';
COMMENT ON COLUMN {schema}.deal_status_history.status IS 'The status after the change, as in deal.status.';
COMMENT ON COLUMN {schema}.deal_status_history.previous_status IS 'The status before; null at first sight.';
COMMENT ON COLUMN {schema}.deal_status_history.vendor_status IS 'The vendor''s word after the change.';
COMMENT ON COLUMN {schema}.deal_status_history.previous_vendor_status IS 'The vendor''s word before; null at first sight.';
COMMENT ON COLUMN {schema}.deal_status_history.read_at IS 'When the change was read from the vendor, on the bus''s clock.';
COMMENT ON COLUMN {schema}.deal_status_history.changed_at IS 'When the vendor says that it happened, on the vendor''s clock.';

CREATE TABLE {schema}.contact (
  contact_key       text NOT NULL,
  resource_key      text NOT NULL,
  tenant            text NOT NULL,
  deal_key          text,
  revision          bigint NOT NULL,
  read_at           timestamptz NOT NULL,
  client            boolean NOT NULL,
  removed           boolean NOT NULL,
  roles             text[] NOT NULL,
  source_key        text NOT NULL,
  first_name        text NOT NULL,
  last_name         text NOT NULL,
  full_name         text NOT NULL,
  company           text NOT NULL,
  emails            text[] NOT NULL,
  phones            text[] NOT NULL,
  street            text,
  unit_number       text,
  city              text,
  state_or_province text,
  postal_code       text,
  county_or_parish  text,
  country           text,
  agent_email       text NOT NULL,
  PRIMARY KEY (contact_key, resource_key)
);
CREATE INDEX ON {schema}.contact (deal_key);
COMMENT ON TABLE  {schema}.contact IS 'A person or company as one vendor''s record describes it: one row per person and record.';
COMMENT ON COLUMN {schema}.contact.contact_key IS 'Pseudonym of the person within the tenant.';
COMMENT ON COLUMN {schema}.contact.resource_key IS 'The record that names the person: tenant/vendor/account/kind/id.';
COMMENT ON COLUMN {schema}.contact.tenant IS 'The brokerage.';
COMMENT ON COLUMN {schema}.contact.deal_key IS 'The deal that names the person; null where the record is no deal.';
COMMENT ON COLUMN {schema}.contact.revision IS 'Revision of the record. The row only ever moves to a higher one.';
COMMENT ON COLUMN {schema}.contact.read_at IS 'When this state was read from the vendor, on the bus''s clock.';
COMMENT ON COLUMN {schema}.contact.client IS 'On the side that the brokerage represents.';
COMMENT ON COLUMN {schema}.contact.removed IS 'The record no longer names the person; the row is as it was last known.';
COMMENT ON COLUMN {schema}.contact.roles IS 'Roles in the deal, as in deal_participant.role.';
COMMENT ON COLUMN {schema}.contact.source_key IS 'The vendor''s id of the contact, empty where it has none.';
COMMENT ON COLUMN {schema}.contact.first_name IS 'PERSONAL DATA. RESO FirstName.';
COMMENT ON COLUMN {schema}.contact.last_name IS 'PERSONAL DATA. RESO LastName.';
COMMENT ON COLUMN {schema}.contact.full_name IS 'PERSONAL DATA. RESO FullName, as written.';
COMMENT ON COLUMN {schema}.contact.company IS 'PERSONAL DATA. Company or trust, empty where a person.';
COMMENT ON COLUMN {schema}.contact.emails IS 'PERSONAL DATA. Lower case, the preferred one first.';
COMMENT ON COLUMN {schema}.contact.phones IS 'PERSONAL DATA. E.164 where readable so, the preferred one first.';
COMMENT ON COLUMN {schema}.contact.street IS 'PERSONAL DATA. Street.';
COMMENT ON COLUMN {schema}.contact.unit_number IS 'PERSONAL DATA. RESO UnitNumber.';
COMMENT ON COLUMN {schema}.contact.city IS 'PERSONAL DATA. RESO City.';
COMMENT ON COLUMN {schema}.contact.state_or_province IS 'RESO StateOrProvince.';
COMMENT ON COLUMN {schema}.contact.postal_code IS 'PERSONAL DATA. RESO PostalCode.';
COMMENT ON COLUMN {schema}.contact.county_or_parish IS 'RESO CountyOrParish.';
COMMENT ON COLUMN {schema}.contact.country IS 'RESO Country, ISO 3166-1 alpha-2.';
COMMENT ON COLUMN {schema}.contact.agent_email IS 'PERSONAL DATA. E-mail of the deal''s primary agent, empty where unknown.';

CREATE VIEW {schema}.deal_amount AS
SELECT deal_key, tenant, status,
       {schema}.major_units(list_price_minor, list_price_currency) AS list_price, list_price_currency,
       {schema}.major_units(sale_price_minor, sale_price_currency) AS sale_price, sale_price_currency,
       {schema}.major_units(earnest_money_minor, earnest_money_currency) AS earnest_money, earnest_money_currency
  FROM {schema}.deal;
COMMENT ON VIEW {schema}.deal_amount IS 'A deal''s prices in major units.';

CREATE VIEW {schema}.deal_commission_amount AS
SELECT deal_key, final,
       {schema}.major_units(gross_minor, gross_currency) AS gross, gross_currency,
       {schema}.major_units(listing_side_minor, listing_side_currency) AS listing_side, listing_side_currency,
       {schema}.major_units(buyer_side_minor, buyer_side_currency) AS buyer_side, buyer_side_currency,
       {schema}.major_units(referral_minor, referral_currency) AS referral, referral_currency
  FROM {schema}.deal_commission;
COMMENT ON VIEW {schema}.deal_commission_amount IS 'A deal''s commission in major units.';

CREATE VIEW {schema}.deal_payee_amount AS
SELECT deal_key, ordinal, payee_key, name, role, basis_points,
       {schema}.major_units(amount_minor, amount_currency) AS amount, amount_currency
  FROM {schema}.deal_payee;
COMMENT ON VIEW {schema}.deal_payee_amount IS 'How a commission is split, in major units.';
