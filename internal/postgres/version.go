package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3/database"
)

// versions is goose's store of applied versions under a name that goose could not quote by itself.
// Naming the schema spares a search path, which is bound to a session.
type versions struct {
	database.Store
}

// newVersions keeps the applied versions in table, a quoted name with its schema.
func newVersions(table string) (versions, error) {
	store, err := database.NewStore(database.DialectPostgres, table)
	return versions{store}, err
}

// TableExists is asked by goose in the place of its own question, which knows no quotes.
func (v versions) TableExists(ctx context.Context, db database.DBTxConn) (exists bool, err error) {
	err = db.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", v.Tablename()).Scan(&exists)
	return exists, err
}

var _ database.StoreExtender = versions{}

// connectOnce opens a connection for a few statements.
func connectOnce(ctx context.Context, url string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, once(cfg))
}
