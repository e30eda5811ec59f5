// Package fleet knows which processes run and which consumer groups exist, in Postgres, so that
// status, held and wake find everything without being told. It is for people and for wakes; no
// guarantee rests on it.
package fleet

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"conveyance/internal/observe"
	"conveyance/internal/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the fleet's tables.
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

const (
	// beatEvery is how often a process says that it lives.
	beatEvery = 2 * time.Second
	// aliveWithin is three missed beats.
	aliveWithin = 3 * beatEvery
)

// Process is one running process.
type Process struct {
	Name    string    `json:"name"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	HTTP    string    `json:"http"` // where it serves health, readiness and metrics
	Build   string    `json:"build"`
	UpSince time.Time `json:"up_since"`
	SeenAt  time.Time `json:"seen_at"`
	Alive   bool      `json:"alive"` // seen within three beats
}

// Group is one consumer group and the schema that holds its offsets and queue.
type Group struct {
	Name   string   `json:"name"`
	Schema string   `json:"schema"`
	Topics []string `json:"topics"`
	Keyed  bool     `json:"keyed"` // has effects at an API
}

// Fleet reads and writes the registry. It is safe for concurrent use.
type Fleet struct {
	pool   *pgxpool.Pool
	schema string
}

// New returns a fleet whose tables are in schema.
func New(pool *pgxpool.Pool, schema string) *Fleet { return &Fleet{pool: pool, schema: schema} }

// Self describes this process.
func Self(name, http, build string) Process {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return Process{Name: name, Host: host, PID: os.Getpid(), HTTP: http, Build: build, UpSince: time.Now().UTC()}
}

// Beat says that p lives until ctx ends, then takes it off the list. It never ends earlier: a
// Postgres that is away costs a line in the log, not the process.
func (f *Fleet) Beat(ctx context.Context, p Process, log *zap.Logger) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		if err := f.beat(ctx, p); err != nil && ctx.Err() == nil {
			log.Warn("process.beat", observe.Err(err))
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatEvery)
			_, _ = f.pool.Exec(last, postgres.In(f.schema, sqlLeave), p.Name, p.Host, p.PID) // aliveWithin covers a miss
			cancel()
			return
		case <-tick.C:
		}
	}
}

func (f *Fleet) beat(ctx context.Context, p Process) error {
	_, err := f.pool.Exec(ctx, postgres.In(f.schema, sqlBeat), p.Name, p.Host, p.PID, p.HTTP, p.Build, p.UpSince)
	if err != nil {
		return fmt.Errorf("registering process %s: %w", p.Name, err)
	}
	if _, err := f.pool.Exec(ctx, postgres.In(f.schema, sqlSweep)); err != nil {
		return fmt.Errorf("sweeping old processes: %w", err)
	}
	return nil
}

// Processes returns what runs or ran within a day, by name.
func (f *Fleet) Processes(ctx context.Context) ([]Process, error) {
	rows, err := f.pool.Query(ctx, postgres.In(f.schema, sqlProcesses), aliveWithin)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (p Process, err error) {
		err = r.Scan(&p.Name, &p.Host, &p.PID, &p.HTTP, &p.Build, &p.UpSince, &p.SeenAt, &p.Alive)
		p.UpSince, p.SeenAt = p.UpSince.UTC(), p.SeenAt.UTC()
		return p, err
	})
}

// Join lists a group; a group once listed stays, since its queue outlives its processes.
func (f *Fleet) Join(ctx context.Context, g Group) error {
	if _, err := f.pool.Exec(ctx, postgres.In(f.schema, sqlJoin), g.Name, g.Schema, g.Topics, g.Keyed); err != nil {
		return fmt.Errorf("listing group %s: %w", g.Name, err)
	}
	return nil
}

// Groups returns every group that ever joined, by name.
func (f *Fleet) Groups(ctx context.Context) ([]Group, error) {
	rows, err := f.pool.Query(ctx, postgres.In(f.schema, sqlGroups))
	if err != nil {
		return nil, fmt.Errorf("listing groups: %w", err)
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (g Group, err error) {
		err = r.Scan(&g.Name, &g.Schema, &g.Topics, &g.Keyed)
		return g, err
	})
}
