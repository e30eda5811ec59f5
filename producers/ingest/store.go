package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/postgres"
	"conveyance/producers/ingest/expect"
)

// store is the stage's tables.
type store struct {
	pool   *pgxpool.Pool
	schema string
}

// accounts are columns of a batch.
type accounts struct{ tenants, vendors, names []string }

func (c *accounts) add(a account) {
	c.tenants, c.vendors, c.names = append(c.tenants, a.tenant), append(c.vendors, a.vendor), append(c.names, a.name)
}

// write adds counts to the tables, in one transaction.
func (s store) write(ctx context.Context, c counts) error {
	err := postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		s.writeCame(b, c)
		s.writeSeen(b, c)
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return fmt.Errorf("writing what came: %w", err)
	}
	return nil
}

func (s store) writeCame(b *pgx.Batch, c counts) {
	var of, by accounts
	var hours, opened, times []time.Time
	var n []int64
	var slots []int32
	var keys []string
	for k, count := range c.came {
		of.add(k.account)
		hours, n = append(hours, k.hour), append(n, count)
	}
	for k, at := range c.used {
		by.add(k.account)
		keys, times = append(keys, k.key), append(times, at)
	}
	for h, bits := range c.open {
		opened, slots = append(opened, h), append(slots, int32(bits)) //nolint:gosec // G115: twelve bits
	}
	b.Queue(postgres.In(s.schema, sqlCame), of.tenants, of.vendors, of.names, hours, n)
	b.Queue(postgres.In(s.schema, sqlUsed), by.tenants, by.vendors, by.names, keys, times)
	b.Queue(postgres.In(s.schema, sqlOpen), opened, slots)
}

func (s store) writeSeen(b *pgx.Batch, c counts) {
	var of accounts
	var came, refused, since []*time.Time
	var runs []int32
	known := func(at time.Time) *time.Time {
		if at.IsZero() {
			return nil
		}
		return &at
	}
	for a, v := range c.seen {
		of.add(a)
		came, refused, since = append(came, known(v.came)), append(refused, known(v.refused)), append(since, known(v.runSince))
		runs = append(runs, int32(v.run)) //nolint:gosec // G115: within one flush
	}
	b.Queue(postgres.In(s.schema, sqlSeen), of.tenants, of.vendors, of.names, came, refused, runs, since, runPause)
}

// seen is what every account's endpoint has seen last, at any door.
func (s store) seen(ctx context.Context) (map[account]seen, error) {
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlAccounts))
	if err != nil {
		return nil, fmt.Errorf("reading accounts: %w", err)
	}
	all := map[account]seen{}
	var a account
	var came, refused, since *time.Time
	var run int
	_, err = pgx.ForEachRow(rows, []any{&a.tenant, &a.vendor, &a.name, &came, &refused, &run, &since}, func() error {
		all[a] = seen{came: known(came), refused: known(refused), run: run, runSince: known(since)}
		return nil
	})
	return all, err
}

func known(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return at.UTC()
}

func (s store) opens(ctx context.Context, from time.Time) (opens, error) {
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlOpens), from)
	if err != nil {
		return nil, fmt.Errorf("reading when the door was open: %w", err)
	}
	all := opens{}
	var hour time.Time
	var slots int
	_, err = pgx.ForEachRow(rows, []any{&hour, &slots}, func() error {
		all[hour.UTC()] = slots
		return nil
	})
	return all, err
}

// history is what came to each account, hour by hour; hours without anything are not in it.
func (s store) history(ctx context.Context, from time.Time) (map[account][]expect.Hour, error) {
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlHistory), from)
	if err != nil {
		return nil, fmt.Errorf("reading what came: %w", err)
	}
	all := map[account][]expect.Hour{}
	var a account
	var h expect.Hour
	_, err = pgx.ForEachRow(rows, []any{&a.tenant, &a.vendor, &a.name, &h.Start, &h.Came}, func() error {
		all[a] = append(all[a], expect.Hour{Start: h.Start.UTC(), Came: h.Came})
		return nil
	})
	return all, err
}

func (s store) forget(ctx context.Context, before time.Time) error {
	for _, sql := range []string{sqlForget, sqlForgetOpen} {
		if _, err := s.pool.Exec(ctx, postgres.In(s.schema, sql), before); err != nil {
			return fmt.Errorf("forgetting old traffic: %w", err)
		}
	}
	return nil
}

// settle raises and clears alarms, and returns those that were not raised before and those that are gone.
func (s store) settle(ctx context.Context, raise, over []Alarm) (raised, cleared []Alarm, err error) {
	err = postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		var of accounts
		var kinds, details []string
		var since []time.Time
		for _, a := range raise {
			of.add(a.account())
			kinds, since, details = append(kinds, a.Kind), append(since, a.Since), append(details, a.Detail)
		}
		rows, err := tx.Query(ctx, postgres.In(s.schema, sqlRaise), of.tenants, of.vendors, of.names, kinds, since, details)
		if err != nil {
			return err
		}
		if raised, err = pgx.CollectRows(rows, scanAlarm); err != nil {
			return err
		}
		of, kinds = accounts{}, nil
		for _, a := range over {
			of.add(a.account())
			kinds = append(kinds, a.Kind)
		}
		if rows, err = tx.Query(ctx, postgres.In(s.schema, sqlClear), of.tenants, of.vendors, of.names, kinds); err != nil {
			return err
		}
		cleared, err = pgx.CollectRows(rows, scanAlarm)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("raising and clearing alarms: %w", err)
	}
	return raised, cleared, nil
}
