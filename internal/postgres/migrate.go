package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Migrations is one set of forward-only SQL files of one schema. A schema may hold several sets:
// the engine's tables and the destination's own.
type Migrations struct {
	Schema string
	Set    string // names the table of applied versions: engine, own
	Files  fs.FS  // NNNN_name.sql at its root; {schema} stands for the schema
}

// ErrMissing means that a schema is older than this build needs.
var ErrMissing = errors.New("a migration is missing: run conveyance migrate")

// Pending returns the migrations that have not been applied, in order, as schema/file. It only reads,
// and needs no right beyond that: a schema that does not exist is all pending. Versions that this
// build does not know are a newer build's, and no matter.
func (m Migrations) Pending(ctx context.Context, url string) ([]string, error) {
	conn, err := connectOnce(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("reaching Postgres for the migrations of %s: %w", m.Schema, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	applied, err := m.applied(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("reading the migrations of %s: %w", m.Schema, err)
	}
	files, err := m.named()
	if err != nil {
		return nil, err
	}
	var pending []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("reading migrations of %s: %w", m.Schema, err)
		}
		if !applied[version] {
			pending = append(pending, m.Schema+"/"+name)
		}
	}
	return pending, nil
}

func (m Migrations) applied(ctx context.Context, conn *pgx.Conn) (map[int64]bool, error) {
	applied := map[int64]bool{}
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", m.table()).Scan(&exists); err != nil || !exists {
		return applied, err
	}
	rows, err := conn.Query(ctx, "SELECT version_id FROM "+m.table()+" WHERE is_applied")
	if err != nil {
		return nil, err
	}
	versions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	for _, v := range versions {
		applied[v] = true
	}
	return applied, err
}

// table of applied versions, quoted: fetch is a word of SQL.
func (m Migrations) table() string { return pgx.Identifier{m.Schema, "migrations_" + m.Set}.Sanitize() }

// Check returns ErrMissing, with the first missing file, where the schema is older than this build.
// It only reads.
func (m Migrations) Check(ctx context.Context, url string) error {
	pending, err := m.Pending(ctx, url)
	if err != nil {
		return err
	}
	if len(pending) > 0 {
		return fmt.Errorf("%s: %w", pending[0], ErrMissing)
	}
	return nil
}

// Apply makes the schema and applies what is pending, each file in a transaction of its own. Two
// processes may call it at once: a lock lets one at a time through, and the other finds it done.
func (m Migrations) Apply(ctx context.Context, url string) error {
	files, err := m.named()
	if err != nil {
		return err
	}
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("reading the Postgres URL: %w", err)
	}
	db := stdlib.OpenDB(*once(cfg))
	defer func() { _ = db.Close() }()
	unlock, err := m.lock(ctx, db)
	if err != nil {
		return fmt.Errorf("locking schema %s for migration: %w", m.Schema, err)
	}
	defer unlock()
	if _, err := db.ExecContext(ctx, In(m.Schema, "CREATE SCHEMA IF NOT EXISTS {schema}")); err != nil {
		return fmt.Errorf("making schema %s: %w", m.Schema, err)
	}
	store, err := newVersions(m.table())
	if err != nil {
		return fmt.Errorf("preparing migrations of %s: %w", m.Schema, err)
	}
	p, err := goose.NewProvider("", db, files, goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("reading migrations of %s: %w", m.Schema, err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating %s: %w", m.Schema, err)
	}
	return nil
}

// lock keeps other migrators of the schema waiting until unlock. The lock is bound to an open
// transaction, not to a session, and ends with this process.
func (m Migrations) lock(ctx context.Context, db *sql.DB) (unlock func(), err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('conveyance.migrate.' || $1, 0))", m.Schema)
	if err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return func() { _ = tx.Rollback() }, nil
}

// named is the set's files with {schema} replaced.
func (m Migrations) named() (fstest.MapFS, error) {
	files := fstest.MapFS{}
	names, err := fs.Glob(m.Files, "*.sql")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(m.Files, name)
		if err != nil {
			return nil, fmt.Errorf("reading migration %s: %w", name, err)
		}
		files[name] = &fstest.MapFile{Data: []byte(In(m.Schema, string(text)))}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no migrations for %s/%s", m.Schema, m.Set)
	}
	return files, nil
}

// Sub returns a folder of an embedded file system as the root of a set.
func Sub(files fs.FS, folder string) fs.FS {
	sub, err := fs.Sub(files, strings.TrimSuffix(folder, "/"))
	if err != nil {
		panic(fmt.Sprintf("embedded folder %s: %v", folder, err)) // the folder is a constant of the caller
	}
	return sub
}
