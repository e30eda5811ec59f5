package postgres

import (
	"context"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/internal/realparts/proxy"
)

// testURL is set by the package's outer tests, which may use testkit.
var testURL func(testing.TB) string

func through(t *testing.T) (*proxy.Proxy, string) {
	t.Helper()
	u, err := url.Parse(testURL(t))
	require.NoError(t, err)
	p, err := proxy.Start(t.Context(), u.Host)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	u.Host = p.Addr
	return p, u.String()
}

func ask(ctx context.Context, pool *pgxpool.Pool) error {
	var one int
	return pool.QueryRow(ctx, "SELECT $1::int", 1).Scan(&one)
}

func TestForgottenConnectionsAreGivenUpTogetherAndNewOnesUsed(t *testing.T) {
	t.Parallel()
	p, url := through(t)
	const silence = 300 * time.Millisecond
	pool, err := openStage(t.Context(), url, "test", silence)
	require.NoError(t, err)
	defer pool.Close()
	var held []*pgxpool.Conn
	for range connectionsMax {
		c, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		held = append(held, c)
	}
	for _, c := range held[1:] {
		c.Release()
	}
	p.Cut(proxy.Cut{Kind: proxy.Forget})()
	_, err = held[0].Exec(t.Context(), "SELECT 1")
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.ErrorContains(t, err, "it said nothing for 300ms")
	held[0].Release()
	began := time.Now()
	require.NoError(t, ask(t.Context(), pool))
	require.Less(t, time.Since(began), silence, "the other connections were not tried one by one")
}

func TestContextEndsBeforeTheSilenceDoes(t *testing.T) {
	t.Parallel()
	p, url := through(t)
	pool, err := openStage(t.Context(), url, "test", time.Hour)
	require.NoError(t, err)
	defer pool.Close()
	require.NoError(t, ask(t.Context(), pool))
	defer p.Cut(proxy.Cut{Kind: proxy.Silence})()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, ask(ctx, pool), context.DeadlineExceeded)
}

func TestAnswerThatTakesItsTimeIsAwaitedWhereBytesCome(t *testing.T) {
	t.Parallel()
	_, url := through(t)
	pool, err := openStage(t.Context(), url, "test", 500*time.Millisecond)
	require.NoError(t, err)
	defer pool.Close()
	require.NoError(t, ask(t.Context(), pool))
	time.Sleep(600 * time.Millisecond) //nolint:forbidigo // idle for longer than the silence
	require.NoError(t, ask(t.Context(), pool))
}

func TestConnectionToAStandbyIsGivenUp(t *testing.T) {
	t.Parallel()
	pool, err := Open(t.Context(), testURL(t), "test")
	require.NoError(t, err)
	defer pool.Close()
	c, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	_, err = c.Exec(t.Context(), "SET default_transaction_read_only = on") // a stand-in for a standby
	require.NoError(t, err)
	_, err = c.Exec(t.Context(), "CREATE TABLE never (n int)")
	require.Error(t, err)
	require.True(t, c.Conn().IsClosed())
	c.Release()
}
