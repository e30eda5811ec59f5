package postgres_test

import (
	"slices"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
)

func set(schema string, files ...string) postgres.Migrations {
	m := postgres.Migrations{Schema: schema, Set: "own", Files: fstest.MapFS{}}
	for i := 0; i < len(files); i += 2 {
		m.Files.(fstest.MapFS)[files[i]] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + files[i+1])}
	}
	return m
}

func exists(t *testing.T, url, schema string) (found bool) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT to_regnamespace($1) IS NOT NULL", schema).Scan(&found))
	return found
}

func TestManyMigratorsAtOnceApplyEachFileOnce(t *testing.T) {
	t.Parallel()
	url := testkit.Database(t)
	m := set("fresh",
		"0001_init.sql", "CREATE TABLE {schema}.thing (id int);",
		"0002_row.sql", "INSERT INTO {schema}.thing VALUES (1); SELECT pg_sleep(0.05);")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = m.Apply(t.Context(), url) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	var n int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM fresh.thing").Scan(&n))
	require.Equal(t, 1, n)
}

func TestPendingNamesWhatIsMissingAndMakesNothing(t *testing.T) {
	t.Parallel()
	url := testkit.Database(t)
	one := []string{"0001_init.sql", "CREATE TABLE {schema}.thing (id int);"}
	two := slices.Concat(one, []string{"0010_more.sql", "ALTER TABLE {schema}.thing ADD more int;"})

	pending, err := set("lazy", two...).Pending(t.Context(), url)
	require.NoError(t, err)
	require.Equal(t, []string{"lazy/0001_init.sql", "lazy/0010_more.sql"}, pending)
	require.False(t, exists(t, url, "lazy"), "looking made a schema")

	require.NoError(t, set("lazy", one...).Apply(t.Context(), url))
	err = set("lazy", two...).Check(t.Context(), url)
	require.ErrorIs(t, err, postgres.ErrMissing)
	require.ErrorContains(t, err, "lazy/0010_more.sql")

	require.NoError(t, set("lazy", two...).Apply(t.Context(), url))
	require.NoError(t, set("lazy", two...).Check(t.Context(), url))
	require.NoError(t, set("lazy", one...).Check(t.Context(), url), "an older build runs on a newer schema")
	require.NoError(t, set("lazy", one...).Apply(t.Context(), url))
}

func TestFailedFileLeavesNothingBehindAndIsAppliedLater(t *testing.T) {
	t.Parallel()
	url := testkit.Database(t)
	first := []string{"0001_init.sql", "CREATE TABLE {schema}.thing (id int);"}
	broken := slices.Concat(first, []string{"0002_bad.sql", "CREATE TABLE {schema}.half (id int); SELECT 1/0;"})
	err := set("half", broken...).Apply(t.Context(), url)
	require.ErrorContains(t, err, "migrating half")
	pending, err := set("half", broken...).Pending(t.Context(), url)
	require.NoError(t, err)
	require.Equal(t, []string{"half/0002_bad.sql"}, pending)
	mended := slices.Concat(first, []string{"0002_bad.sql", "CREATE TABLE {schema}.half (id int);"})
	require.NoError(t, set("half", mended...).Apply(t.Context(), url))
}

func TestSetsOfOneSchemaAreApart(t *testing.T) {
	t.Parallel()
	url := testkit.Database(t)
	engine, own := set("pair", "0001_init.sql", "CREATE TABLE {schema}.a (id int);"), set("pair", "0001_init.sql", "CREATE TABLE {schema}.b (id int);")
	engine.Set = "engine"
	require.NoError(t, engine.Apply(t.Context(), url))
	require.ErrorIs(t, own.Check(t.Context(), url), postgres.ErrMissing)
	require.NoError(t, own.Apply(t.Context(), url))
	require.NoError(t, engine.Check(t.Context(), url))
}

func TestEmptySetIsAMistake(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, set("none").Apply(t.Context(), testkit.PostgresURL(t)), "no migrations for none/own")
}
