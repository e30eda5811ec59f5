package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"conveyance/internal/realparts/postgres"
	"conveyance/internal/testkit"
)

func pair(t *testing.T) *postgres.Pair {
	t.Helper()
	testkit.Lane(t)
	p, err := postgres.StartPair(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	return p
}

func exec(t *testing.T, url, sql string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = c.Close(t.Context()) }()
	_, err = c.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func count(t *testing.T, url string) (n int) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = c.Close(t.Context()) }()
	require.NoError(t, c.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n))
	return n
}

func TestCommittedRowsOutliveEachPromotionAndTheWayBack(t *testing.T) {
	t.Parallel()
	p := pair(t)
	exec(t, p.URL, "CREATE TABLE t (n int)")
	for n := range 3 {
		exec(t, p.URL, "INSERT INTO t VALUES (1)")
		was := p.Primary()
		require.NoError(t, p.Kill(t.Context()))
		require.NoError(t, p.Promote(t.Context()))
		require.NotEqual(t, was, p.Primary())
		exec(t, p.URL, "INSERT INTO t VALUES (2)")
		require.NoError(t, p.Rejoin(t.Context()))
		require.Equal(t, 2*(n+1), count(t, p.URL))
	}
}

func TestRowsThatTheStandbyNeverSawAreGoneAfterItsPromotion(t *testing.T) {
	t.Parallel()
	p := pair(t)
	exec(t, p.URL, "CREATE TABLE t (n int)")
	p.CutStandby()
	require.NoError(t, p.Synchronous(t.Context(), false))
	exec(t, p.URL, "INSERT INTO t VALUES (1)")
	require.Equal(t, 1, count(t, p.URL))
	require.NoError(t, p.Kill(t.Context()))
	require.NoError(t, p.Promote(t.Context()))
	require.Zero(t, count(t, p.URL))
	require.NoError(t, p.Rejoin(t.Context()))
	require.Zero(t, count(t, p.URL))
}

func TestCommitHangsWhileTheStandbyIsCutAndAFrozenPrimaryIsReplaced(t *testing.T) {
	t.Parallel()
	p := pair(t)
	exec(t, p.URL, "CREATE TABLE t (n int)")
	p.CutStandby()
	c, err := pgx.Connect(t.Context(), p.URL)
	require.NoError(t, err)
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = c.Exec(short, "INSERT INTO t VALUES (1)")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	p.Freeze()
	require.NoError(t, p.Promote(t.Context()))
	require.NoError(t, p.Rejoin(t.Context()))
	exec(t, p.URL, "INSERT INTO t VALUES (2)")
	require.Equal(t, 1, count(t, p.URL))
}

func TestKilledPrimaryStartsAgainWithWhatItCommitted(t *testing.T) {
	t.Parallel()
	p := pair(t)
	exec(t, p.URL, "CREATE TABLE t (n int)")
	exec(t, p.URL, "INSERT INTO t VALUES (1)")
	require.NoError(t, p.Kill(t.Context()))
	require.NoError(t, p.Restart(t.Context()))
	require.Equal(t, 1, count(t, p.URL))
}
