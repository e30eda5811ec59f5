// Package ledger is the engine's memory in Postgres: offsets with their owner tokens, effects and
// their end states, revision guards, the held queue, and evidence of calls. One Postgres schema per
// consumer group holds all of it; dropping the schema forgets the group. It knows no Kafka client
// and calls nobody: internal/stream obeys protocol.md with it, and operators read and release
// through it.
//
// Nothing drops months of ledger rows: it grows with the effects. Whoever drops one must obey
// protocol.md 44 (no row open, all of them older than the retention and below the watermarks, the gap
// rows in the same transaction); that a row may be missing is obeyed already (43).
package ledger

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the engine's tables, for postgres.Migrations with Set "engine".
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

// State of a ledger row. All but Claimed are end states, written once (protocol.md 7).
type State int16

// The states of a ledger row.
const (
	None       State = iota // no row
	Claimed                 // a call may be under way, or was cut
	Applied                 // in place
	Superseded              // ended without an effect: a newer state is in place, or there was nothing to do
	Parked                  // surely not done, waits for a person
	Unknown                 // sent, outcome unknown, waits for a person
	Refused                 // not done, since it may have been done before a row was dropped
	Discarded               // a person gave it up
)

var states = [...]string{"none", "claimed", "applied", "superseded", "parked", "unknown", "refused", "discarded"}

func (s State) String() string { return states[s] }

// Place is a partition of a topic without prefix.
type Place struct {
	Topic string `json:"topic"`
	Part  int32  `json:"partition"`
}

func (p Place) place() Place   { return p }
func (p Place) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Part) }

// ID names one effect: an event and a step of it.
type ID struct {
	EID  uuid.UUID
	Step int64
}

// Store is one group's tables as the owner of its partitions uses them. It is safe for concurrent
// use; every method is one transaction or one read.
type Store struct {
	pool   *pgxpool.Pool
	schema string
}

// Open returns the store of a group's schema.
func Open(pool *pgxpool.Pool, schema string) *Store { return &Store{pool: pool, schema: schema} }

func (s *Store) in(sql string) string { return postgres.In(s.schema, sql) }

// Timeline is Postgres's timeline, which a failover raises (protocol.md 49); 1 where the role may
// not read it.
func (s *Store) Timeline(ctx context.Context) (int32, error) {
	var t int32
	err := s.pool.QueryRow(ctx, sqlTimeline).Scan(&t)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "42501" { // insufficient_privilege
		return 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading Postgres's timeline: %w", err)
	}
	return t, nil
}

// col is one column of rows, for unnest.
// Ids are given as bytes: pgx takes a uuid.UUID through its text.
func col[T, V any](rows []T, of func(T) V) []V {
	out := make([]V, len(rows))
	for i, r := range rows {
		out[i] = of(r)
	}
	return out
}

func topics[T interface{ place() Place }](rows []T) []string {
	return col(rows, func(r T) string { return r.place().Topic })
}

func parts[T interface{ place() Place }](rows []T) []int32 {
	return col(rows, func(r T) int32 { return r.place().Part })
}

// textMax bounds what is kept of an error's or vendor's text, in bytes.
const textMax = 500

// clean makes any text fit for a text column, bounded.
func clean(s string) string { return safe(s[:min(len(s), textMax)]) }

// safe is s as valid UTF-8 without a zero byte.
func safe(s string) string { return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "") }

func collect[T any](rows pgx.Rows, scan func(pgx.CollectableRow, *T) error) ([]T, error) {
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (v T, err error) {
		err = scan(r, &v)
		return v, err
	})
}

// scanRows scans each row into dest and calls fn.
func scanRows(rows pgx.Rows, dest []any, fn func()) error {
	_, err := pgx.ForEachRow(rows, dest, func() error { fn(); return nil })
	return err
}
