// Package postgres is the way to Postgres for everybody: a pool of three connections with the
// timeouts that the engine's fencing needs, migrations per schema, and what an error means for the
// record in hand. Nothing it does is bound to a session, so PgBouncer in transaction mode works.
package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// connectionsMax of one process: 100 adapters with two replicas are 600 connections, which a
	// default Postgres behind PgBouncer serves.
	connectionsMax = 3
	// LockTimeout, StatementTimeout and IdleInTransactionTimeout end a transaction whose process is
	// frozen, below the 10 s group session, so that its successor's claim is not kept waiting
	// (protocol.md 4). They are set in every transaction, since a session's setting does not
	// survive PgBouncer.
	LockTimeout              = 4 * time.Second
	StatementTimeout         = 5 * time.Second
	IdleInTransactionTimeout = 3 * time.Second
)

// Open returns a pool that has answered once. app is shown in pg_stat_activity.
func Open(ctx context.Context, url, app string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the Postgres URL: %w", err) // pgx masks the password
	}
	cfg.MaxConns = connectionsMax
	cfg.ConnConfig.RuntimeParams["application_name"] = app
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening Postgres: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reaching Postgres at %s: %w", cfg.ConnConfig.Host, err)
	}
	return pool, nil
}

// In writes a schema's name, quoted, in the place of every {schema} of a statement. Statements name
// their schema themselves: a search path would be bound to a session.
func In(schema, sql string) string {
	return strings.ReplaceAll(sql, "{schema}", pgx.Identifier{schema}.Sanitize())
}

var setTimeouts = fmt.Sprintf(
	"SELECT set_config('lock_timeout','%d',true), set_config('statement_timeout','%d',true), set_config('idle_in_transaction_session_timeout','%d',true)",
	LockTimeout.Milliseconds(), StatementTimeout.Milliseconds(), IdleInTransactionTimeout.Milliseconds())

// Tx runs fn in one transaction under the engine's timeouts and commits where fn returns nil. The
// BEGIN and the timeouts travel with the first statement of fn where the pool can pipeline them.
// An error of the commit itself may leave its outcome unknown; IsUnknownCommit tells.
func Tx(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // a no-op after commit
	if _, err := tx.Exec(ctx, setTimeouts); err != nil {
		return fmt.Errorf("setting timeouts: %w", err)
	}
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return &commitError{err}
	}
	return nil
}

type commitError struct{ err error }

func (e *commitError) Error() string { return "committing: " + e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }
