package fetch

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

// The kinds of waiting, as in the engine's queue.
const (
	KindWaiting = "waiting" // ended by the clock
	KindHeld    = "held"    // ended when its scope heals or is resumed
	KindParked  = "parked"  // ended by a person
)

// unservedFor is how long rows may be due before it is worth telling that nobody reads them.
const unservedFor = time.Minute

// Row is a group of records, or one poll, that wait for one reason.
type Row struct {
	Kind    string        `json:"kind"`
	Cause   string        `json:"cause"`
	Scope   verdict.Scope `json:"scope"` // what must heal
	Tenant  string        `json:"tenant"`
	Vendor  string        `json:"vendor"`
	Account string        `json:"account"`
	Poll    bool          `json:"poll,omitempty"` // the account's list of changes, not a record
	Count   int64         `json:"count"`
	Oldest  *time.Time    `json:"oldest"`             // dirty since; of a poll, when it last reached its end
	NextTry *time.Time    `json:"next_try,omitempty"` // none = not by itself
}

// Stuck lists what waits for a reason other than its turn, the oldest first: records by account and
// cause, then polls. A row of a paused tenant says so, whatever else is wrong with it.
func (d *Desk) Stuck(ctx context.Context, f Filter) ([]Row, error) {
	now := d.now()
	records, err := d.query(ctx, sqlStuck, scanStuck, now, f.Tenant, f.Vendor, f.Account, f.Resource, f.Cause)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, 0, len(records))
	for _, r := range records {
		if err := d.overlay(ctx, &r); err != nil {
			return nil, err
		}
		if r.Cause == "" && now.Sub(*r.Oldest) < unservedFor {
			continue // its turn comes
		}
		if r.Cause == "" {
			r.Cause = "no worker has come to it yet"
		}
		rows = append(rows, r)
	}
	if f.Resource != "" {
		return rows, nil
	}
	polls, err := d.query(ctx, sqlStuckPolls, scanStuckPoll, now, f.Tenant, f.Vendor, f.Account, f.Cause)
	if err != nil {
		return nil, err
	}
	for _, p := range polls {
		if err := d.overlay(ctx, &p); err != nil {
			return nil, err
		}
		rows = append(rows, p)
	}
	return rows, nil
}

func (d *Desk) query(ctx context.Context, sql string, scan pgx.RowToFunc[Row], args ...any) ([]Row, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, err := d.store.pool.Query(ctx, postgres.In(d.store.schema, sql), args...)
	if err != nil {
		return nil, fmt.Errorf("listing what is stuck: %w", postgres.Classify(err))
	}
	out, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("listing what is stuck: %w", postgres.Classify(err))
	}
	return out, nil
}

func scanStuck(r pgx.CollectableRow) (row Row, err error) {
	var parked, held bool
	err = r.Scan(&row.Tenant, &row.Vendor, &row.Account, &parked, &row.Cause, &held, &row.Count, &row.Oldest, &row.NextTry)
	return row.named(parked, held), err
}

func scanStuckPoll(r pgx.CollectableRow) (row Row, err error) {
	var parked, held bool
	row.Poll, row.Count = true, 1
	err = r.Scan(&row.Tenant, &row.Vendor, &row.Account, &parked, &row.Cause, &held, &row.Oldest, &row.NextTry)
	return row.named(parked, held), err
}

// named fills kind and scope.
func (r Row) named(parked, held bool) Row {
	r.Kind, r.Scope = KindWaiting, verdict.ScopeKey
	switch {
	case parked:
		r.Kind = KindParked
	case held:
		r.Kind = KindHeld
	}
	if held || r.Poll {
		r.Scope = verdict.AccountScope(r.Tenant, r.Vendor, r.Account)
	}
	for _, at := range []*time.Time{r.Oldest, r.NextTry} {
		if at != nil {
			*at = at.UTC()
		}
	}
	return r
}

// overlay lets a pause, which no row knows of, explain a row.
func (d *Desk) overlay(ctx context.Context, r *Row) error {
	_, shut, err := lookup(ctx, d.tenants, account{r.Tenant, r.Vendor, r.Account})
	if err != nil || shut == "" || r.Kind == KindParked {
		return err
	}
	r.Kind, r.Cause, r.NextTry = KindHeld, shut, nil
	r.Scope = verdict.AccountScope(r.Tenant, r.Vendor, r.Account)
	if shut == causeTenantPaused || shut == causeUnknownTenant {
		r.Scope = verdict.TenantScope(r.Tenant)
	}
	return nil
}
