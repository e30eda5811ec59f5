package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// execModeInURL is pgx's own setting of how statements are sent.
const execModeInURL = "default_query_exec_mode"

// pooled is true where a pooler answers in Postgres's place: it hands out process numbers of its own.
// Behind one that pools by transaction, a prepared statement is gone, or another's, at the next use.
func pooled(ctx context.Context, cfg *pgx.ConnConfig) (bool, error) {
	conn, err := pgx.ConnectConfig(ctx, once(cfg))
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var pid uint32
	err = conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid)
	return pid != conn.PgConn().PID(), err
}

// once is for a connection that sends each statement once: preparing them would be a round trip each.
func once(cfg *pgx.ConnConfig) *pgx.ConnConfig {
	cfg = cfg.Copy()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	return cfg
}

// usable says whether a connection may be used after an error. One to a server that refuses to write
// is given up: it became a standby, and the primary is elsewhere.
func usable(_ *pgconn.PgConn, err *pgconn.PgError) bool {
	return !strings.EqualFold(err.Severity, "FATAL") && err.Code != readOnly
}

// readOnly is what a standby answers to a write.
const readOnly = "25006"

// hosts are the servers of a URL, for a person.
func hosts(cfg *pgx.ConnConfig) string {
	all := cfg.Host
	for _, f := range cfg.Fallbacks {
		if !strings.Contains(all, f.Host) { // with and without TLS each is named twice
			all += ", " + f.Host
		}
	}
	return all
}
