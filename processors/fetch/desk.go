package fetch

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// Desk is what operators see of the stage and do with it. It calls no vendor and needs no running
// process: what it changes, workers and pollers find. It is safe for concurrent use.
type Desk struct {
	store   store
	tenants tenant.Directory
	now     func() time.Time
}

// NewDesk returns a desk over the tables in schema. A nil now is the machine's clock.
func NewDesk(pool *pgxpool.Pool, schema string, tenants tenant.Directory, now func() time.Time) *Desk {
	if now == nil {
		now = time.Now
	}
	return &Desk{store{pool, schema}, tenants, now}
}

// Polled returns by account key when each account's list of changes was last read to its end.
func (d *Desk) Polled(ctx context.Context) (map[string]time.Time, error) {
	ages, err := d.store.polled(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking when accounts were polled: %w", postgres.Classify(err))
	}
	return ages, nil
}

// Filter chooses rows; an empty field means all.
type Filter struct {
	Tenant   string `json:"tenant,omitempty"`
	Vendor   string `json:"vendor,omitempty"`
	Account  string `json:"account,omitempty"`
	Resource string `json:"resource,omitempty"` // event.Resource.Key
	Cause    string `json:"cause,omitempty"`
}

// MarkDirty has resources read again, whatever is held of them, and returns how many. lane is live or
// backfill; reason is shown by Why. It is idempotent but for one more read.
func (d *Desk) MarkDirty(ctx context.Context, resources []event.Resource, lane, reason string) (int, error) {
	l, err := laneNamed(lane)
	if err != nil {
		return 0, err
	}
	hints := make([]hint, len(resources))
	for i, r := range resources {
		hints[i] = hint{resource: r, lane: l, by: reason}
	}
	hints = distinct(hints)
	for begin := 0; begin < len(hints); begin += markChunk {
		chunk := hints[begin:min(begin+markChunk, len(hints))]
		if err := d.store.mark(ctx, d.store.pool, chunk, d.now()); err != nil {
			return begin, err
		}
	}
	return len(hints), nil
}

// markChunk keeps a statement that marks many resources below its time limit.
const markChunk = 1000

// Wake lifts the holds of accounts whose scope, or whose tenant's, has healed, and returns how many.
func (d *Desk) Wake(ctx context.Context, scopes ...verdict.Scope) (int64, error) {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	var n int64
	if err := d.store.pool.QueryRow(ctx, postgres.In(d.store.schema, sqlWake), names, d.now()).Scan(&n); err != nil {
		return 0, fmt.Errorf("waking accounts: %w", postgres.Classify(err))
	}
	return n, nil
}

// Release makes what filter chooses due now: parked and waiting rows and polls, and, where no resource
// is named, held accounts. Rows that a worker has in hand stay with it. Who did it is recorded. It
// returns how many rows, polls and accounts may go on that might not.
func (d *Desk) Release(ctx context.Context, f Filter, actor string) (int64, error) {
	target, err := json.Marshal(f)
	if err != nil {
		return 0, fmt.Errorf("writing down what to release: %w", err)
	}
	var n int64
	err = postgres.Tx(ctx, d.store.pool, func(tx pgx.Tx) error {
		n = 0
		now := d.now()
		tag, err := tx.Exec(ctx, postgres.In(d.store.schema, sqlRelease),
			now, f.Tenant, f.Vendor, f.Account, f.Resource, f.Cause, causeAgain)
		if err != nil {
			return err
		}
		n += tag.RowsAffected()
		if f.Resource == "" {
			tag, err = tx.Exec(ctx, postgres.In(d.store.schema, sqlReleasePolls), now, f.Tenant, f.Vendor, f.Account, f.Cause)
			if err != nil {
				return err
			}
			n += tag.RowsAffected()
			tag, err = tx.Exec(ctx, postgres.In(d.store.schema, sqlLift), f.Tenant, f.Vendor, f.Account, f.Cause)
			if err != nil {
				return err
			}
			n += tag.RowsAffected()
		}
		_, err = tx.Exec(ctx, postgres.In(d.store.schema, sqlAudit), now, actor, "release", target, n)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("releasing resources: %w", postgres.Classify(err))
	}
	return n, nil
}
