package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/processors/fetch"
)

// names says whether the filter means a group, among others.
func (f heldFilter) names(adapter string) bool { return f.Adapter == "" || f.Adapter == adapter }

func (f heldFilter) fetch() fetch.Filter {
	return fetch.Filter{Tenant: f.Tenant, Cause: f.Cause, Resource: f.Key}
}

var fetchKinds = map[string]ledger.Kind{
	fetch.KindWaiting: ledger.Waiting, fetch.KindHeld: ledger.HeldScope, fetch.KindParked: ledger.ParkedKey,
}

// ofAccount ends the name of what an account's records wait for together.
const ofAccount = "/…"

// heldByFetch is what fetch, which has no queue, waits with: a line for each account and cause.
func heldByFetch(ctx context.Context, pool *pgxpool.Pool, f heldFilter) ([]heldLine, error) {
	if !f.names(fetch.Schema) {
		return nil, nil
	}
	store, err := tenant.Open(ctx, pool, tenant.Schema, nil)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	rows, err := fetch.NewDesk(pool, fetch.Schema, store, time.Now).Stuck(ctx, f.fetch())
	if err != nil {
		return nil, fmt.Errorf("asking what fetch waits for: %w", err)
	}
	var lines []heldLine
	for _, r := range rows {
		h := ledger.Held{
			Key: f.Key, Tenant: r.Tenant, Kind: fetchKinds[r.Kind], Scope: r.Scope, Cause: r.Cause, NextTry: r.NextTry, Count: r.Count,
		}
		if h.Key == "" {
			h.Key = r.Tenant + "/" + r.Vendor + "/" + r.Account + ofAccount
		}
		if r.Oldest != nil {
			h.Since = r.Oldest.UTC()
		}
		lines = append(lines, heldLine{fetch.Schema, h})
	}
	return lines, nil
}

// notQueued says why nothing can be done to a key that no queue of adapter has: it is not there, or it is
// a row of fetch's own, which holds no record that could be given up.
func notQueued(ctx context.Context, pool *pgxpool.Pool, adapter, key string) error {
	const released = "fetch itself waits with %s: its rows are released, never dropped: conveyance held release --adapter fetch %s %s"
	if adapter == fetch.Schema {
		if account, ok := strings.CutSuffix(key, ofAccount); ok {
			tenant, _, _ := strings.Cut(account, "/")
			return fmt.Errorf(released, "records of "+account, "--tenant", tenant)
		}
		lines, err := heldByFetch(ctx, pool, heldFilter{Adapter: adapter, Key: key})
		if err != nil {
			return err
		}
		if len(lines) > 0 {
			return fmt.Errorf(released, key, "--key", key)
		}
	}
	return fmt.Errorf("%w: %s", ledger.ErrNotQueued, key)
}

// releaseFetch has fetch try again what it waits with.
func releaseFetch(ctx context.Context, pool *pgxpool.Pool, f heldFilter) (int64, error) {
	if !f.names(fetch.Schema) {
		return 0, nil
	}
	n, err := fetch.NewDesk(pool, fetch.Schema, nil, time.Now).Release(ctx, f.fetch(), actor())
	if err != nil {
		return 0, fmt.Errorf("releasing what fetch waits with: %w", err)
	}
	return n, nil
}
