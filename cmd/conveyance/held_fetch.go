package main

import (
	"context"
	"fmt"
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
			h.Key = r.Tenant + "/" + r.Vendor + "/" + r.Account + "/…"
		}
		if r.Oldest != nil {
			h.Since = r.Oldest.UTC()
		}
		lines = append(lines, heldLine{fetch.Schema, h})
	}
	return lines, nil
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
