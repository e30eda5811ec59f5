// Package consumerstest holds what every destination promises, as suites that each destination's
// tests call, and the life of some deals to try it with. It is for tests.
package consumerstest

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/consumers"
	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
)

// ProjectionSuite says what to try.
type ProjectionSuite struct {
	New        func(schema string) consumers.Projection
	Migrations fs.FS
	Records    []consumers.Placed // in the order of their topics
	Tables     []string           // that the projection writes
	Arrival    []string           // columns that tell only the order of arrival, not compared
}

// Run holds the projection to what it promises: any order, split and repetition of the same
// records gives the same tables, and building them anew does too.
func (s ProjectionSuite) Run(t *testing.T) {
	want := s.project(t, s.Records)
	for _, table := range s.Tables {
		require.NotEmpty(t, want[table], "the records fill %s", table)
	}
	t.Run("one record at a time", func(t *testing.T) {
		t.Parallel()
		var single [][]consumers.Placed
		for _, r := range s.Records {
			single = append(single, []consumers.Placed{r})
		}
		require.Equal(t, want, s.project(t, single...))
	})
	t.Run("rebuilt from empty", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, want, s.project(t, s.Records))
	})
	for seed := range uint64(8) {
		t.Run("any order, split and repetition", func(t *testing.T) {
			t.Parallel()
			require.Equal(t, want, s.project(t, shuffled(s.Records, seed)...), "seed %d", seed)
		})
	}
}

// shuffled is the records in some order, some of them twice, in batches of some sizes.
func shuffled(records []consumers.Placed, seed uint64) [][]consumers.Placed {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // G404: an order, not a secret
	all := append([]consumers.Placed(nil), records...)
	for range len(records) / 3 {
		all = append(all, records[r.IntN(len(records))])
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var batches [][]consumers.Placed
	for len(all) > 0 {
		n := 1 + r.IntN(len(all))
		batches, all = append(batches, all[:n]), all[n:]
	}
	return batches
}

func (s ProjectionSuite) project(t *testing.T, batches ...[]consumers.Placed) map[string][]string {
	t.Helper()
	pool, schema := testkit.Schema(t)
	Migrate(t, schema, s.Migrations)
	p := s.New(schema)
	for _, b := range batches {
		require.NoError(t, postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error { return p.Project(t.Context(), tx, b) }))
	}
	return Dump(t, pool, schema, s.Tables, s.Arrival...)
}

// Migrate applies a destination's own migrations to a schema.
func Migrate(t testing.TB, schema string, files fs.FS) {
	t.Helper()
	m := postgres.Migrations{Schema: schema, Set: "own", Files: files}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
}

// Dump returns each table's rows as JSON, sorted, without the named columns.
func Dump(t testing.TB, pool *pgxpool.Pool, schema string, tables []string, without ...string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	require.NoError(t, postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SET LOCAL timezone = 'UTC'"); err != nil {
			return err
		}
		for _, table := range tables {
			rows, err := tx.Query(t.Context(), postgres.In(schema, fmt.Sprintf(
				"SELECT (to_jsonb(t) - coalesce($1::text[], '{}'))::text FROM {schema}.%s AS t ORDER BY 1", table)), without)
			if err != nil {
				return err
			}
			if out[table], err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
				return err
			}
		}
		return nil
	}))
	return out
}

// restore puts tables back to what a dump holds.
func restore(t testing.TB, r Rig, dump map[string][]string) {
	t.Helper()
	require.NoError(t, postgres.Tx(t.Context(), r.Pool, func(tx pgx.Tx) error {
		for table, rows := range dump {
			in := func(sql string) string { return postgres.In(r.Schema, fmt.Sprintf(sql, table)) }
			if _, err := tx.Exec(t.Context(), in("DELETE FROM {schema}.%s")); err != nil {
				return err
			}
			for _, row := range rows {
				sql := in("INSERT INTO {schema}.%[1]s SELECT * FROM json_populate_record(NULL::{schema}.%[1]s, $1::json)")
				if _, err := tx.Exec(t.Context(), sql, row); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}
