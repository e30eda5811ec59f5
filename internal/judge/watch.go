package judge

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/postgres"
)

// Watcher has Postgres itself write down what must never happen while a bus runs, so that nothing is
// missed between two looks: an offset that falls otherwise than by a rewind, a destination's row or a
// guard whose revision falls, an end state of the ledger that is written over. Judge reports what it
// saw. It costs the product nothing but a comparison per row.
type Watcher struct {
	pool    *pgxpool.Pool
	schemas []string
}

// Watch begins to watch the groups in schemas, whose tables must be there. What was seen before stays.
func Watch(ctx context.Context, pool *pgxpool.Pool, schemas ...string) (*Watcher, error) {
	if _, err := pool.Exec(ctx, sqlWatch); err != nil {
		return nil, fmt.Errorf("preparing to watch: %w", err)
	}
	for _, s := range schemas {
		if _, err := pool.Exec(ctx, postgres.In(s, sqlWatchGroup)); err != nil {
			return nil, fmt.Errorf("watching %s: %w", s, err)
		}
	}
	if _, err := pool.Exec(ctx, sqlWatchWarehouse); err != nil {
		return nil, fmt.Errorf("watching the warehouse: %w", err)
	}
	return &Watcher{pool: pool, schemas: schemas}, nil
}

// During runs fn, a fault, and finds it Unexplained where fewer than least records of groups other
// than the struck one came to their end meanwhile (progress).
func (w *Watcher) During(ctx context.Context, fault, struck string, least int64, fn func()) error {
	before, err := w.ended(ctx, struck)
	if err != nil {
		return err
	}
	fn()
	after, err := w.ended(ctx, struck)
	if err != nil || after-before >= least {
		return err
	}
	_, err = w.pool.Exec(ctx, sqlStandstill, fmt.Sprintf("during %s only %d records came to their end elsewhere", fault, after-before))
	return err
}

// ended is how many records the groups but one are past.
func (w *Watcher) ended(ctx context.Context, struck string) (sum int64, err error) {
	for _, s := range w.schemas {
		var n int64
		if s == struck {
			continue
		}
		if err := w.pool.QueryRow(ctx, postgres.In(s, sqlEnded)).Scan(&n); err != nil {
			return 0, fmt.Errorf("looking how far %s is: %w", s, err)
		}
		sum += n
	}
	return sum, nil
}

// watched adds what a Watcher saw.
func (b Bench) watched(ctx context.Context, v *Verdict) error {
	var watching bool
	if err := b.Pool.QueryRow(ctx, sqlWatching).Scan(&watching); err != nil || !watching {
		return err
	}
	return b.each(ctx, sqlWatched, func(c []any) {
		if c[0] == "standstill" {
			v.Unexplained = append(v.Unexplained, c[1].(string))
		} else {
			v.Misordered = append(v.Misordered, c[1].(string))
		}
	})
}
