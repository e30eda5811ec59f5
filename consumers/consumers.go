// Package consumers is everything the bus knows of destinations: one folder per destination, and
// here what such a folder offers and how the engine runs it. A destination's folder names no topic,
// group, offset or goroutine, and imports no stage; register/ lists the destinations.
package consumers

import (
	"context"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
)

// Adapter applies events to an API.
//
// Plan only reads, and the same event plans the same effects: it gives the dry run, the shadow, the
// no-op skip and "2 of 3 done". Apply is one call. Confirm (class C) reads back whether an effect in
// doubt is in place. Errors carry verdicts; an unmarked error of Apply is a doubt.
type Adapter interface {
	Plan(ctx context.Context, t tenant.Tenant, e event.Event) ([]ledger.Effect, error)
	Apply(ctx context.Context, t tenant.Tenant, e event.Event, f ledger.Effect) (ledger.Receipt, error)
	Confirm(ctx context.Context, t tenant.Tenant, e event.Event, f ledger.Effect) (ledger.Outcome, error)
}

// Placed is one message with its time and the place where it stands in the log, for projections
// that point back.
type Placed struct {
	Message   event.Message
	Time      time.Time // when the record was produced, UTC, on our clock
	Topic     string    // without prefix
	Partition int32
	Offset    int64
	Headers   []stream.Header
}

// Projection writes a batch into tables of its own schema, in the transaction that moves the offset
// (class A). The batch holds no event twice and none that was applied before; state events are
// still guarded by revision in SQL, since a topic may carry old after new. It never commits.
type Projection interface {
	Project(ctx context.Context, tx pgx.Tx, batch []Placed) error
}

// Destination is one line of the register: an Adapter or a Projection.
type Destination struct {
	Name       string   // folder, consumer group, Postgres schema, log field, metric label
	Vendor     string   // whose accounts an Adapter uses; empty for a Projection
	Topics     []string // without prefix; the register says them
	Adapter    func(Deps) (Adapter, error)
	Projection func(Deps) (Projection, error)
	Migrations fs.FS // of the destination's own schema; {schema} stands for it
	// SettingsSchema is the JSON Schema (draft 2020-12) of a tenant's settings for the adapter, and
	// AccountSchema of an account at Vendor: {"credential": {...}, "settings": {...}}.
	SettingsSchema, AccountSchema []byte
	// Checker asks the vendor whether an account and the tenant's settings work; nil for none.
	Checker func(Deps) tenant.Checker
}
