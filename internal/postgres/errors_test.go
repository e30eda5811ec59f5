package postgres_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
	"conveyance/internal/verdict"
)

func TestEveryClassOfErrorHasItsVerdict(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct {
		kind  verdict.Kind
		cause string
	}{
		"40001": {verdict.Retry, "postgres busy"},
		"40P01": {verdict.Retry, "postgres busy"},
		"55P03": {verdict.Retry, "postgres busy"},
		"57014": {verdict.Retry, "postgres busy"},
		"25P03": {verdict.Retry, "postgres busy"},
		"0A000": {verdict.Retry, "postgres busy"},
		"08006": {verdict.Stall, "postgres unavailable"},
		"53100": {verdict.Stall, "postgres unavailable"},
		"53300": {verdict.Stall, "postgres unavailable"},
		"57P01": {verdict.Stall, "postgres unavailable"},
		"57P03": {verdict.Stall, "postgres unavailable"},
		"25006": {verdict.Stall, "postgres unavailable"},
		"22003": {verdict.Park, "postgres refused the value"},
		"22P02": {verdict.Park, "postgres refused the value"},
		"23505": {verdict.Park, "postgres refused the value"},
		"23514": {verdict.Park, "postgres refused the value"},
		"42P01": {verdict.Stall, "postgres schema is not as this build expects: run conveyance migrate"},
		"42703": {verdict.Stall, "postgres schema is not as this build expects: run conveyance migrate"},
		"42501": {verdict.Stall, "postgres schema is not as this build expects: run conveyance migrate"},
		"3F000": {verdict.Stall, "postgres schema is not as this build expects: run conveyance migrate"},
		"XX000": {verdict.Retry, "unmarked"},
		"":      {verdict.Retry, "unmarked"},
	} {
		err := fmt.Errorf("writing a deal: %w", &pgconn.PgError{Code: code})
		got := verdict.Of(postgres.Classify(err))
		require.Equal(t, want.kind, got.Kind, code)
		require.Equal(t, want.cause, got.Cause, code)
		require.ErrorIs(t, got, err, "the detail stays")
	}
	require.NoError(t, postgres.Classify(nil))
	given := verdict.Parked("given before", nil)
	require.Equal(t, given, postgres.Classify(given))
	require.Equal(t, io.ErrUnexpectedEOF, postgres.Classify(io.ErrUnexpectedEOF))
}

func TestPostgresThatIsAwayStallsAndItsErrorHoldsNoPassword(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = postgres.Open(t.Context(), "postgres://u:planted@"+l.Addr().String()+"/d?sslmode=disable", "test")
	require.Equal(t, "postgres unreachable", verdict.Of(postgres.Classify(err)).Cause)
	require.NotContains(t, err.Error(), "planted")
	_, err = postgres.Open(t.Context(), "postgres://u:planted@host:port/d", "test")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "planted")
}

func TestMissingTableStalls(t *testing.T) {
	t.Parallel()
	pool, schema := testkit.Schema(t)
	_, err := pool.Exec(t.Context(), postgres.In(schema, "SELECT FROM {schema}.nothing"))
	require.Equal(t, verdict.Stall, verdict.Of(postgres.Classify(err)).Kind)
}

func TestCommitErrorsOfAPoolerAreUnknown(t *testing.T) {
	t.Parallel()
	require.False(t, postgres.IsUnknownCommit(nil))
	require.False(t, postgres.IsUnknownCommit(errors.New("other")))
	require.False(t, postgres.IsUnknownCommit(&pgconn.PgError{Code: "08006"}), "not of a commit")
	for code, want := range map[string]bool{"08P01": true, "08007": true, "57P01": true, "40003": true, "40001": false, "23505": false} {
		require.Equal(t, want, postgres.IsUnknownCommit(postgres.CommitError(&pgconn.PgError{Code: code})), code)
	}
}

func TestSchemaNamesAreQuoted(t *testing.T) {
	t.Parallel()
	require.Equal(t, `SELECT FROM "a""b".t JOIN "a""b".u`, postgres.In(`a"b`, "SELECT FROM {schema}.t JOIN {schema}.u"))
}

func TestTimeoutsEndBeforeASilentMemberLosesItsPartitions(t *testing.T) {
	t.Parallel()
	const session = 10 * time.Second // internal/stream's default
	require.Less(t, postgres.LockTimeout, postgres.StatementTimeout)
	require.Less(t, postgres.StatementTimeout+postgres.IdleInTransactionTimeout, session)
}
