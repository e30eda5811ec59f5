// Package postgres is the way to Postgres for everybody: a pool of three connections with the
// timeouts that the engine's fencing needs, migrations per schema, and what an error means for the
// record in hand. Nothing it does is bound to a session, so PgBouncer works in transaction mode.
package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/fault"
)

const (
	// connectionsMax of one process: 100 adapters with two replicas are 600 connections, which a
	// default Postgres behind PgBouncer serves.
	connectionsMax = 3
	// connectTimeout of one connection: a Postgres that takes longer is away.
	connectTimeout = 5 * time.Second
	// rollbackTimeout bounds the good-bye to a transaction; the server ends it anyway.
	rollbackTimeout = time.Second
)

// The timeouts end a transaction whose process is frozen, below the 10 s group session, so that its
// successor's claim is not kept waiting (protocol.md 4). They are set in every transaction, since a
// session's setting does not survive PgBouncer.
const (
	// LockTimeout of a statement that waits for a row.
	LockTimeout = 4 * time.Second
	// StatementTimeout of one statement, waiting included.
	StatementTimeout = 5 * time.Second
	// IdleInTransactionTimeout between two statements.
	IdleInTransactionTimeout = 3 * time.Second
)

// Open returns a pool that has answered once. app is shown in pg_stat_activity. A URL may name several
// servers, of which with target_session_attrs=read-write the primary is meant, whichever that is at the
// time. Where a pooler stands between, statements are not prepared, so that any one that pools by
// transaction works; default_query_exec_mode in the URL overrides that.
func Open(ctx context.Context, url, app string) (*pgxpool.Pool, error) {
	return open(ctx, url, app, func(*pgxpool.Config) {})
}

func open(ctx context.Context, url, app string, adjust func(*pgxpool.Config)) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the Postgres URL: %w", err) // pgx masks the password
	}
	cfg.MaxConns = connectionsMax
	cfg.ConnConfig.RuntimeParams["application_name"] = app
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	cfg.ConnConfig.OnPgError = usable
	if !strings.Contains(url, execModeInURL) {
		between, err := pooled(ctx, cfg.ConnConfig)
		if err != nil {
			return nil, fmt.Errorf("reaching Postgres at %s: %w", hosts(cfg.ConnConfig), err)
		}
		if between {
			cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		}
	}
	adjust(cfg)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening Postgres: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reaching Postgres at %s: %w", hosts(cfg.ConnConfig), err)
	}
	return pool, nil
}

// In writes a schema's name, quoted, in the place of every {schema} of a statement. Statements name
// their schema themselves: a search path would be bound to a session.
func In(schema, sql string) string {
	return strings.ReplaceAll(sql, "{schema}", pgx.Identifier{schema}.Sanitize())
}

var timeouts = fmt.Sprintf(
	"SELECT set_config('lock_timeout','%d',true), set_config('statement_timeout','%d',true), "+
		"set_config('idle_in_transaction_session_timeout','%d',true)",
	LockTimeout.Milliseconds(), StatementTimeout.Milliseconds(), IdleInTransactionTimeout.Milliseconds())

// begin opens a transaction and sets its timeouts in one round trip.
var begin = pgx.TxOptions{BeginQuery: "BEGIN; " + timeouts}

// Tx runs fn in one transaction under the engine's timeouts and commits where fn returns nil; else,
// and where fn panics, it rolls back. BEGIN and the timeouts are one round trip, COMMIT another. It
// blocks while all connections are in use. An error of the commit itself may leave its outcome
// unknown; IsUnknownCommit tells.
func Tx(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
	tx, err := pool.BeginTx(ctx, begin)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		_ = tx.Rollback(ctx) // a no-op after commit
	}()
	if err := fn(tx); err != nil {
		return err
	}
	return commit(ctx, tx)
}

// commit tells a COMMIT that was never sent from one whose answer was lost. pgx cannot: where the
// connection breaks while it waits for the answer to a simple query, it returns "conn closed", and
// SafeToRetry holds that for harmless.
func commit(ctx context.Context, tx pgx.Tx) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	if tx.Conn().IsClosed() {
		return fmt.Errorf("committing: %w", pgconn.ErrConnClosed)
	}
	if err := fault.At("commit.before"); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return &commitError{err}
	}
	if err := fault.At("commit.after"); err != nil {
		return Unanswered(err)
	}
	return nil
}

// Unanswered makes err that of a COMMIT that was sent and of whose outcome nothing is known.
func Unanswered(err error) error { return &commitError{err} }

// Timeouts queues the engine's timeouts as the first statement of a batch that is sent without a
// transaction of its own: Postgres runs such a batch as one transaction, in one round trip.
func Timeouts() *pgx.Batch {
	b := &pgx.Batch{}
	b.Queue(timeouts)
	return b
}

// commitError is an error of a COMMIT that was sent.
type commitError struct{ err error }

func (e *commitError) Error() string { return "committing: " + e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }
