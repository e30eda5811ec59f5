-- +goose Up
-- A token is above every other that was drawn before it, also where Postgres failed over and lost what it
-- had drawn last: snapshots with those tokens are in Kafka for ever (protocol.md 18, 49). So a token
-- begins with Postgres's timeline, which a failover raises; where the role may not read it, with 1.
-- +goose StatementBegin
CREATE FUNCTION {schema}.next_token() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  timeline bigint := 1;
BEGIN
  BEGIN
    timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
  EXCEPTION WHEN insufficient_privilege THEN
    NULL;
  END;
  RETURN (timeline << 40) + nextval('{schema}.fetch_token');
END
$$;
-- +goose StatementEnd
