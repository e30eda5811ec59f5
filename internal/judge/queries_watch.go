package judge

// What a Watcher lays beside the product's tables. All of it can be laid again.
const (
	sqlWatch = `
CREATE SCHEMA IF NOT EXISTS judge;
CREATE TABLE IF NOT EXISTS judge.finding (
  id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  sort text NOT NULL,
  what text NOT NULL
);
CREATE OR REPLACE FUNCTION judge.find() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO judge.finding (sort, what)
  VALUES ('order', TG_TABLE_SCHEMA || ': ' || TG_ARGV[0] || ': ' || to_jsonb(OLD)::text || ' became ' || to_jsonb(NEW)::text);
  RETURN NULL;
END $$`

	// A rewind draws a new token, as no turn of an owner does.
	sqlWatchGroup = `
CREATE OR REPLACE TRIGGER judge_offset AFTER UPDATE ON {schema}.consumer_offsets FOR EACH ROW
  WHEN (NEW.next_offset < OLD.next_offset AND NEW.owner = OLD.owner)
  EXECUTE FUNCTION judge.find('an offset fell');
CREATE OR REPLACE TRIGGER judge_guard AFTER UPDATE ON {schema}.versions FOR EACH ROW
  WHEN (NEW.revision < OLD.revision)
  EXECUTE FUNCTION judge.find('a guard fell');
CREATE OR REPLACE TRIGGER judge_end AFTER UPDATE ON {schema}.ledger FOR EACH ROW
  WHEN (OLD.state IN (2, 3, 6, 7) AND NEW.state <> OLD.state)
  EXECUTE FUNCTION judge.find('an end state was written over')`

	sqlWatchWarehouse = `
CREATE OR REPLACE TRIGGER judge_deal AFTER UPDATE ON warehouse.deal FOR EACH ROW
  WHEN (NEW.revision < OLD.revision)
  EXECUTE FUNCTION judge.find('a deal went back');
CREATE OR REPLACE TRIGGER judge_contact AFTER UPDATE ON warehouse.contact FOR EACH ROW
  WHEN (NEW.revision < OLD.revision)
  EXECUTE FUNCTION judge.find('a contact went back');
CREATE OR REPLACE TRIGGER judge_link AFTER UPDATE ON warehouse.resource_link FOR EACH ROW
  WHEN (NEW.revision < OLD.revision)
  EXECUTE FUNCTION judge.find('a link went back')`

	sqlStandstill = `INSERT INTO judge.finding (sort, what) VALUES ('standstill', $1)`
	sqlEnded      = `SELECT coalesce(sum(next_offset), 0)::bigint FROM {schema}.consumer_offsets`
	sqlWatching   = `SELECT to_regclass('judge.finding') IS NOT NULL`
	sqlWatched    = `SELECT sort, left(what, 500) FROM judge.finding ORDER BY id`
)
