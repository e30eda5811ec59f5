package overload

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// resource_pkey. Reads only.
	sqlKnown = `SELECT count(*) FROM "fetch".resource WHERE key = ANY ($1::text[])`
	// The primary key, by lane and resource. Reads only.
	sqlTold = `SELECT resource FROM translate.translate_state WHERE lane = 'live' AND resource = ANY ($1::text[])`
)

// keysMax of one question.
const keysMax = 5000

// known counts the records that fetch has of keys.
func known(ctx context.Context, pool *pgxpool.Pool, keys []string) (int, error) {
	total := 0
	for begin := 0; begin < len(keys); begin += keysMax {
		var n int
		if err := pool.QueryRow(ctx, sqlKnown, keys[begin:min(begin+keysMax, len(keys))]).Scan(&n); err != nil {
			return 0, fmt.Errorf("counting records: %w", err)
		}
		total += n
	}
	return total, nil
}

// told are those of keys that translate has taken.
func told(ctx context.Context, pool *pgxpool.Pool, keys []string) (map[string]bool, error) {
	rows, err := pool.Query(ctx, sqlTold, keys)
	if err != nil {
		return nil, fmt.Errorf("asking what was translated: %w", err)
	}
	defer rows.Close()
	found := map[string]bool{}
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, fmt.Errorf("asking what was translated: %w", err)
		}
		found[key] = true
	}
	return found, rows.Err()
}
