package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
	"conveyance/internal/verdict"
)

func TestMain(m *testing.M) {
	postgres.UseServer(testkit.PostgresURL)
	// The test server's watcher and the closing of pools outlive the tests by design.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
		goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"))
}

func table(t *testing.T) (*pgxpool.Pool, string) {
	t.Helper()
	pool, schema := testkit.Schema(t)
	_, err := pool.Exec(t.Context(), postgres.In(schema, "CREATE TABLE {schema}.thing (id int PRIMARY KEY)"))
	require.NoError(t, err)
	return pool, schema
}

func count(t *testing.T, pool *pgxpool.Pool, schema string) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), postgres.In(schema, "SELECT count(*) FROM {schema}.thing")).Scan(&n))
	return n
}

func insert(ctx context.Context, schema string, id int) func(pgx.Tx) error {
	return func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, postgres.In(schema, "INSERT INTO {schema}.thing VALUES ($1)"), id)
		return err
	}
}

func TestLostAnswerToACommitIsUnknownWhetherOrNotItArrived(t *testing.T) {
	t.Parallel()
	pool, schema := table(t)
	p := startProxy(t)
	through, err := postgres.Open(t.Context(), p.url, "test")
	require.NoError(t, err)
	t.Cleanup(through.Close)

	p.cut.Store(cutAfterCommit)
	err = postgres.Tx(t.Context(), through, insert(t.Context(), schema, 1))
	require.Error(t, err)
	require.True(t, postgres.IsUnknownCommit(err), err)
	require.Eventually(t, func() bool { return count(t, pool, schema) == 1 }, testkit.Patience, testkit.Look)

	p.cut.Store(cutBeforeCommit)
	err = postgres.Tx(t.Context(), through, insert(t.Context(), schema, 2))
	require.True(t, postgres.IsUnknownCommit(err), err)
	require.Equal(t, 1, count(t, pool, schema))

	p.cut.Store(cutNothing)
	require.NoError(t, postgres.Tx(t.Context(), through, insert(t.Context(), schema, 2)))
	require.Equal(t, 2, count(t, pool, schema))
}

func TestRefusedCommitAndFailureBeforeItAreKnown(t *testing.T) {
	t.Parallel()
	pool, schema := testkit.Schema(t)
	_, err := pool.Exec(t.Context(), postgres.In(schema,
		"CREATE TABLE {schema}.thing (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)"))
	require.NoError(t, err)
	twice := func(tx pgx.Tx) error { // the broken key shows at COMMIT
		_, err := tx.Exec(t.Context(), postgres.In(schema, "INSERT INTO {schema}.thing VALUES (1), (1)"))
		return err
	}
	err = postgres.Tx(t.Context(), pool, twice)
	require.ErrorContains(t, err, "committing:")
	require.False(t, postgres.IsUnknownCommit(err))
	require.Equal(t, verdict.Park, verdict.Of(postgres.Classify(err)).Kind)

	swallowed := func(tx pgx.Tx) error { // the transaction is broken, so COMMIT answers ROLLBACK
		_, _ = tx.Exec(t.Context(), "SELECT 1/0")
		return nil
	}
	err = postgres.Tx(t.Context(), pool, swallowed)
	require.ErrorIs(t, err, pgx.ErrTxCommitRollback)
	require.False(t, postgres.IsUnknownCommit(err))

	ours := errors.New("ours")
	err = postgres.Tx(t.Context(), pool, func(pgx.Tx) error { return ours })
	require.Equal(t, ours, err)
	require.False(t, postgres.IsUnknownCommit(err))

	ctx, cancel := context.WithCancel(t.Context())
	err = postgres.Tx(ctx, pool, func(pgx.Tx) error { cancel(); return nil })
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, postgres.IsUnknownCommit(err), "nothing was sent")

	err = postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error { return tx.Conn().Close(t.Context()) })
	require.ErrorIs(t, err, pgconn.ErrConnClosed)
	require.False(t, postgres.IsUnknownCommit(err), "nothing could be sent")
}

func TestTxRollsBackOnErrorAndPanicAndGivesTheConnectionBack(t *testing.T) {
	t.Parallel()
	pool, schema := table(t)
	for range 10 { // more than there are connections
		require.Error(t, postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error {
			require.NoError(t, insert(t.Context(), schema, 1)(tx))
			return errors.New("no")
		}))
		require.Panics(t, func() {
			_ = postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error {
				require.NoError(t, insert(t.Context(), schema, 1)(tx))
				panic("no")
			})
		})
	}
	require.Zero(t, count(t, pool, schema))
}

func TestTxAddsTwoRoundTripsAndABatchUnderTimeoutsIsOne(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	pool, err := postgres.Open(t.Context(), p.url, "test")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	var lock, statement, idle string
	one := func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),
			current_setting('idle_in_transaction_session_timeout'), $1::int`, 1).Scan(&lock, &statement, &idle, nil)
	}
	batch := func() error {
		b := postgres.Timeouts()
		b.Queue("SELECT current_setting('lock_timeout')").QueryRow(func(r pgx.Row) error { return r.Scan(&lock) })
		return pool.SendBatch(t.Context(), b).Close()
	}
	require.NoError(t, postgres.Tx(t.Context(), pool, one)) // prepares the statements
	require.NoError(t, batch())

	before := p.rounds.Load()
	require.NoError(t, postgres.Tx(t.Context(), pool, one))
	require.EqualValues(t, 3, p.rounds.Load()-before)
	require.Equal(t, []string{"4s", "5s", "3s"}, []string{lock, statement, idle})

	before = p.rounds.Load()
	lock = ""
	require.NoError(t, batch())
	require.EqualValues(t, 1, p.rounds.Load()-before)
	require.Equal(t, "4s", lock)

	require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting('lock_timeout')").Scan(&lock))
	require.Equal(t, "0", lock, "the timeouts end with their transaction")
}

func TestFrozenHolderOfARowIsEndedBeforeItsWaiterGivesUp(t *testing.T) {
	t.Parallel()
	pool, schema := table(t)
	require.NoError(t, postgres.Tx(t.Context(), pool, insert(t.Context(), schema, 1)))
	touch := func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), postgres.In(schema, "UPDATE {schema}.thing SET id = 1 WHERE id = 1"))
		return err
	}
	locked, thaw, held := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		held <- postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error {
			err := touch(tx)
			close(locked)
			<-thaw
			return err
		})
	}()
	<-locked
	frozen := time.Now()
	require.NoError(t, postgres.Tx(t.Context(), pool, touch))
	require.InDelta(t, postgres.IdleInTransactionTimeout.Seconds(), time.Since(frozen).Seconds(), 1)
	close(thaw)
	err := <-held
	require.ErrorContains(t, err, "committing:")
	require.NotEqual(t, verdict.Park, verdict.Of(postgres.Classify(err)).Kind)
}

func TestStatementThatRunsTooLongIsARetry(t *testing.T) {
	t.Parallel()
	pool, _ := testkit.Schema(t)
	start := time.Now()
	err := postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "SELECT pg_sleep(60)")
		return err
	})
	require.Equal(t, "postgres busy", verdict.Of(postgres.Classify(err)).Cause, err)
	require.InDelta(t, postgres.StatementTimeout.Seconds(), time.Since(start).Seconds(), 2)
}

func TestLockTimeoutIsARetry(t *testing.T) {
	t.Parallel()
	pool, schema := table(t)
	require.NoError(t, postgres.Tx(t.Context(), pool, insert(t.Context(), schema, 1)))
	other, err := pool.Begin(t.Context()) // without our timeouts
	require.NoError(t, err)
	defer func() { _ = other.Rollback(t.Context()) }()
	_, err = other.Exec(t.Context(), postgres.In(schema, "SELECT FROM {schema}.thing FOR UPDATE"))
	require.NoError(t, err)
	err = postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "SET LOCAL lock_timeout = '50ms'")
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), postgres.In(schema, "SELECT FROM {schema}.thing FOR UPDATE"))
		return err
	})
	require.Equal(t, "postgres busy", verdict.Of(postgres.Classify(err)).Cause)
}
