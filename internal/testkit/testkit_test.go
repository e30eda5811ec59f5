package testkit_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
)

func TestSchemaIsEmptyAndItsMigrationsApplyOnce(t *testing.T) {
	t.Parallel()
	pool, schema := testkit.Schema(t)
	m := postgres.Migrations{Schema: schema, Set: "own", Files: fstest.MapFS{
		"0001_init.sql": {Data: []byte("-- +goose Up\nCREATE TABLE {schema}.thing (id int PRIMARY KEY);\n")},
	}}
	require.ErrorIs(t, m.Check(t.Context(), testkit.PostgresURL(t)), postgres.ErrMissing)
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	require.NoError(t, m.Check(t.Context(), testkit.PostgresURL(t)))
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), postgres.In(schema, "SELECT count(*) FROM {schema}.thing")).Scan(&n))
	require.Zero(t, n)
}

func TestDatabaseIsSeparate(t *testing.T) {
	t.Parallel()
	first, second := testkit.Database(t), testkit.Database(t)
	require.NotEqual(t, first, second)
}
