package postgres_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"conveyance/internal/postgres"
	real "conveyance/internal/realparts/postgres"
	"conveyance/internal/testkit"
)

// bouncer returns the URL of an empty database behind a PgBouncer that pools by transaction.
func bouncer(t *testing.T) string {
	t.Helper()
	b, err := real.StartBouncer(t.Context(), testkit.Database(t))
	if errors.Is(err, real.ErrNoBouncer) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Stop()) })
	return b.URL
}

func TestTransactionsAndBatchesWorkBehindAPoolerByTransaction(t *testing.T) {
	t.Parallel()
	url := bouncer(t)
	m := set("fetch", // a word of SQL
		"0001_init.sql", "CREATE TABLE {schema}.thing (id int PRIMARY KEY, name text);",
		"0002_more.sql", "ALTER TABLE {schema}.thing ADD n bigint NOT NULL DEFAULT 0;")
	var migrators errgroup.Group
	for range 4 {
		migrators.Go(func() error { return m.Apply(t.Context(), url) })
	}
	require.NoError(t, migrators.Wait())
	require.NoError(t, m.Check(t.Context(), url))

	var clients errgroup.Group
	const processes, turns = 8, 60
	for p := range processes {
		clients.Go(func() error {
			pool, err := postgres.Open(t.Context(), url, "test")
			if err != nil {
				return err
			}
			defer pool.Close()
			for n := range turns {
				if err := turn(t, pool, p*turns+n); err != nil {
					return fmt.Errorf("turn %d of client %d: %w", n, p, err)
				}
			}
			return nil
		})
	}
	require.NoError(t, clients.Wait())
	pool, err := postgres.Open(t.Context(), url, "test")
	require.NoError(t, err)
	defer pool.Close()
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), postgres.In("fetch", "SELECT sum(n) FROM {schema}.thing")).Scan(&n))
	require.Equal(t, 2*processes*turns, n)
}

// turn does what the engine does: a numbered transaction with arrays, a batch in one round trip, and
// statements of their own, different ones, so that prepared ones would meet another's.
func turn(t *testing.T, pool *pgxpool.Pool, id int) error {
	err := postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), postgres.In("fetch", "INSERT INTO {schema}.thing SELECT * FROM unnest($1::int[], $2::text[])"),
			[]int{id}, []string{"a"})
		return err
	})
	if err != nil {
		return err
	}
	b := postgres.Timeouts()
	for range 2 {
		b.Queue(postgres.In("fetch", "UPDATE {schema}.thing SET n = n + $2 WHERE id = $1"), id, 1)
	}
	if err := pool.SendBatch(t.Context(), b).Close(); err != nil {
		return err
	}
	var name string
	return pool.QueryRow(t.Context(), fmt.Sprintf(postgres.In("fetch", "SELECT name FROM {schema}.thing WHERE id = $1 AND %d > 0"), 1+id%7), id).Scan(&name)
}
