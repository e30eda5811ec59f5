-- What vendors write that their contracts here do not know.
-- +goose Up
CREATE TABLE {schema}.drift (
  vendor   text COLLATE "C" NOT NULL,
  path     text COLLATE "C" NOT NULL,    -- JSON pointer without indexes; other = past what one process tells apart
  kind     text COLLATE "C" NOT NULL,    -- unknown-field unknown-value retyped
  what     text COLLATE "C" NOT NULL,    -- the unknown word, where it is of a closed list; else empty
  seen     bigint NOT NULL,              -- how often, in accepted snapshots
  first_at timestamptz NOT NULL DEFAULT now(),
  last_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (vendor, path, kind, what)
) WITH (fillfactor = 50);                -- it is counted up in place
COMMENT ON TABLE {schema}.drift IS 'Fields and values that the vendors'' contracts do not know. Moves with the offset; no personal data; rows stay, status lists those of late.';
