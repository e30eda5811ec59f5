-- When a record may be read again, where its vendor has a rule for that.
-- +goose Up
ALTER TABLE {schema}.resource ADD COLUMN again_at timestamptz;
COMMENT ON COLUMN {schema}.resource.again_at IS 'No call for the record before: the vendor wants no record read more often. NULL = it never minded, or was never read.';
