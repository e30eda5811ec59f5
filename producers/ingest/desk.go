package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/postgres"
)

// The kinds of alarms.
const (
	// KindSilent: deliveries that were due do not come.
	KindSilent = "silent"
	// KindRotated: one delivery after the other comes to the right address with a signature that none
	// of the live keys made.
	KindRotated = "rotated secret?"
)

// Alarm is something about one account's webhooks that a person should look at.
type Alarm struct {
	Tenant  string    `json:"tenant"`
	Vendor  string    `json:"vendor"`
	Account string    `json:"account"`
	Kind    string    `json:"kind"`
	Since   time.Time `json:"since"`  // of silence: when the last delivery came
	Detail  string    `json:"detail"` // one clause, without personal data
}

func (a Alarm) account() account { return account{a.Tenant, a.Vendor, a.Account} }

// KeyUse is when a key last signed a delivery of an account. Keys that never did are not listed.
type KeyUse struct {
	Tenant  string    `json:"tenant"`
	Vendor  string    `json:"vendor"`
	Account string    `json:"account"`
	Key     string    `json:"key"` // its id
	UsedAt  time.Time `json:"used_at"`
}

// Desk is what operators see of the door. It only reads, and needs no running process. It is safe for
// concurrent use.
type Desk struct{ store store }

// NewDesk returns a desk over the tables in schema.
func NewDesk(pool *pgxpool.Pool, schema string) *Desk { return &Desk{store{pool, schema}} }

// Alarms are those that stand, the oldest first; an empty tenant, vendor or account means all.
func (d *Desk) Alarms(ctx context.Context, tenant, vendor, account string) ([]Alarm, error) {
	return d.store.alarms(ctx, tenant, vendor, account)
}

// Keys says when keys were last used, by account and key.
func (d *Desk) Keys(ctx context.Context) ([]KeyUse, error) { return d.store.keys(ctx) }

// Came says by account key (tenant/vendor/name) when the last signed delivery came.
func (d *Desk) Came(ctx context.Context) (map[string]time.Time, error) {
	all, err := d.store.seen(ctx)
	if err != nil {
		return nil, postgres.Classify(err)
	}
	came := map[string]time.Time{}
	for a, s := range all {
		if !s.came.IsZero() {
			came[a.key()] = s.came
		}
	}
	return came, nil
}

func (s store) alarms(ctx context.Context, tenant, vendor, account string) ([]Alarm, error) {
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlAlarms), tenant, vendor, account)
	if err != nil {
		return nil, fmt.Errorf("reading alarms: %w", postgres.Classify(err))
	}
	return pgx.CollectRows(rows, scanAlarm)
}

func scanAlarm(r pgx.CollectableRow) (a Alarm, err error) {
	err = r.Scan(&a.Tenant, &a.Vendor, &a.Account, &a.Kind, &a.Since, &a.Detail)
	a.Since = a.Since.UTC()
	return a, err
}

func (s store) keys(ctx context.Context) ([]KeyUse, error) {
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlKeys))
	if err != nil {
		return nil, fmt.Errorf("reading the last use of keys: %w", postgres.Classify(err))
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (k KeyUse, err error) {
		err = r.Scan(&k.Tenant, &k.Vendor, &k.Account, &k.Key, &k.UsedAt)
		k.UsedAt = k.UsedAt.UTC()
		return k, err
	})
}
