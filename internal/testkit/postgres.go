// Package testkit is what tests of several packages share: a real Postgres with a schema or a
// database per test, an embedded Kafka, and the logger of a test. Nothing needs preparing: a
// Postgres is found or brought, and where there is none the test fails and says so.
package testkit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/internal/devstack/localpg"
	"conveyance/internal/postgres"
	bouncer "conveyance/internal/realparts/postgres"
)

const (
	// EnvPostgres names a server to use instead of starting one, for example under CI.
	EnvPostgres = "CONVEYANCE_TEST_POSTGRES"
	// EnvBouncer puts a PgBouncer that pools by transaction in front of the server, where it is not empty.
	EnvBouncer = "CONVEYANCE_TEST_PGBOUNCER"
)

// server is one Postgres per test binary; it ends with the binary.
var server = sync.OnceValues(func() (string, error) {
	if url := os.Getenv(EnvPostgres); url != "" {
		return url, nil
	}
	root := filepath.Join("/var/tmp", "conveyance-test-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(root, 0o755); err != nil { //nolint:gosec // G301: the postgres account must enter
		return "", err
	}
	sweep(root)
	s, err := localpg.Start(context.Background(), localpg.Options{
		Dir:      filepath.Join(root, strconv.Itoa(os.Getpid())),
		Settings: []string{"fsync=off", "max_wal_size=256MB"},
		Progress: os.Stderr,
	})
	if err != nil {
		return "", err
	}
	if os.Getenv(EnvBouncer) == "" {
		return s.URL, nil
	}
	b, err := bouncer.StartBouncer(context.Background(), s.URL)
	if err != nil {
		return "", err
	}
	return b.URL, nil
})

// sweep removes the data of test binaries that have ended.
func sweep(root string) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(strings.SplitN(e.Name(), ".", 2)[0])
		if err == nil && syscall.Kill(pid, 0) != nil {
			_ = os.RemoveAll(filepath.Join(root, e.Name()))
		}
	}
}

// PostgresURL returns the server of this test binary.
func PostgresURL(t testing.TB) string {
	t.Helper()
	url, err := server()
	require.NoError(t, err, "tests need a real Postgres: install PostgreSQL 15 or newer, or set %s", EnvPostgres)
	return url
}

// Schema returns a pool and the name of an empty schema that is dropped with the test.
func Schema(t testing.TB) (*pgxpool.Pool, string) {
	t.Helper()
	pool, err := postgres.Open(t.Context(), PostgresURL(t), "test")
	require.NoError(t, err)
	schema := unique()
	_, err = pool.Exec(t.Context(), postgres.In(schema, "CREATE SCHEMA {schema}"))
	require.NoError(t, err)
	t.Cleanup(func() {
		_, _ = pool.Exec(context.Background(), postgres.In(schema, "DROP SCHEMA {schema} CASCADE"))
		pool.Close()
	})
	return pool, schema
}

// Database returns the URL of an empty database that is dropped with the test, for what spans
// several schemas.
func Database(t testing.TB) string {
	t.Helper()
	name := unique()
	admin := PostgresURL(t)
	exec := func(ctx context.Context, sql string) error {
		conn, err := pgx.Connect(ctx, admin)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, fmt.Sprintf(sql, pgx.Identifier{name}.Sanitize()))
		return err
	}
	require.NoError(t, exec(t.Context(), "CREATE DATABASE %s"))
	t.Cleanup(func() { _ = exec(context.Background(), "DROP DATABASE %s WITH (FORCE)") })
	cfg, err := pgx.ParseConfig(admin)
	require.NoError(t, err)
	return fmt.Sprintf("postgres://%s:%s@%s:%d/%s?sslmode=disable", cfg.User, cfg.Password, cfg.Host, cfg.Port, name)
}

func unique() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return "t_" + hex.EncodeToString(b[:])
}
