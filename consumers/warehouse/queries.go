package warehouse

// Each statement takes one array per column (columns.go fills {table}, {columns}, {arrays},
// {selected} and {sets}), so that a batch of any size is one statement.
const (
	// Found by the primary key. A replay or an older event finds a revision that is not lower, and
	// writes nothing.
	sqlNewest = `
INSERT INTO {schema}.{table} AS t ({columns})
SELECT {selected}
  FROM unnest({arrays}) AS x({columns})
    ON CONFLICT ({key}) DO UPDATE
   SET {sets}
 WHERE t.revision < EXCLUDED.revision
RETURNING t.deal_key`

	// Found by the primary key of {table}. Asked only for deals whose row has just moved, and in its
	// transaction, so that a replay clears nothing.
	sqlClear = `
DELETE FROM {schema}.{table}
 WHERE deal_key = ANY ($1::text[])`

	// Written only for deals whose row has just moved, after sqlClear. In sqlOnce's other use, the
	// primary key finds an event that is there.
	sqlOnce = `
INSERT INTO {schema}.{table} ({columns})
SELECT {selected}
  FROM unnest({arrays}) AS x({columns})
    ON CONFLICT DO NOTHING`
)
