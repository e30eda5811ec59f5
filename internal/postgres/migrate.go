package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
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

// Pending returns the names of the migrations that have not been applied, in order.
func (m Migrations) Pending(ctx context.Context, url string) ([]string, error) {
	var names []string
	err := m.with(ctx, url, func(p *goose.Provider) error {
		status, err := p.Status(ctx)
		if err != nil {
			return err
		}
		for _, s := range status {
			if s.State == goose.StatePending {
				names = append(names, m.Schema+"/"+s.Source.Path)
			}
		}
		return nil
	})
	return names, err
}

// Apply makes the schema and applies what is pending, each file in a transaction of its own. Two
// processes may call it at once: an advisory lock lets one at a time through.
func (m Migrations) Apply(ctx context.Context, url string) error {
	return m.with(ctx, url, func(p *goose.Provider) error {
		_, err := p.Up(ctx)
		return err
	})
}

// Check returns ErrMissing, with the first missing file, where the schema is older than this build.
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

func (m Migrations) with(ctx context.Context, url string, fn func(*goose.Provider) error) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("reading the Postgres URL: %w", err)
	}
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	if err := m.createSchema(ctx, db); err != nil {
		return fmt.Errorf("making schema %s: %w", m.Schema, err)
	}
	store, err := database.NewStore(database.DialectPostgres, m.Schema+".migrations_"+m.Set) // goose quotes nothing: schemas are [a-z0-9_]
	if err != nil {
		return fmt.Errorf("preparing migrations of %s: %w", m.Schema, err)
	}
	files, err := m.named()
	if err != nil {
		return err
	}
	p, err := goose.NewProvider("", db, files, goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("reading migrations of %s: %w", m.Schema, err)
	}
	if err := fn(p); err != nil {
		return fmt.Errorf("migrating %s: %w", m.Schema, err)
	}
	return nil
}

func (m Migrations) createSchema(ctx context.Context, db *sql.DB) error {
	// Two creators at once collide in the catalog in spite of IF NOT EXISTS; the lock orders them.
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtext('conveyance.migrate'))"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, In(m.Schema, "CREATE SCHEMA IF NOT EXISTS {schema}")); err != nil {
		return err
	}
	return tx.Commit()
}

// named is the set's files with {schema} replaced.
func (m Migrations) named() (fs.FS, error) {
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
