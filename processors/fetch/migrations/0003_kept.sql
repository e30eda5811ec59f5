-- What later webhooks of a record lack, where its vendor's folder says that it will be needed.
-- +goose Up
ALTER TABLE {schema}.resource ADD COLUMN kept bytea;
COMMENT ON COLUMN {schema}.resource.kept IS 'A part of what is held (version, digest), written with it, that the webhooks of its vendor leave out; it may name people. Used only while the row is clean. NULL = nothing: webhooks that are not whole make the record be read.';
