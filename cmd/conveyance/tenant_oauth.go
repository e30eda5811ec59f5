package main

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"conveyance/internal/tenant"
	"conveyance/internal/tenant/oauth"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

// openTokens gives access tokens to a process's calls. Account servers are reached through a client of
// their own: the gate of a refused account must not stop what mends it.
func openTokens(
	g *globals, store *tenant.Store, pool *pgxpool.Pool, at allowed, metrics prometheus.Registerer,
) (*oauth.Tokens, *vendorhttp.Client, error) {
	to := at.client()
	to.Timeout = tenant.RenewTimeout
	servers, err := vendorhttp.New(to)
	if err != nil {
		return nil, nil, err
	}
	cfg := oauth.Config{
		Vendors: map[string]tenant.OAuth{}, PublicURL: g.PublicURL, Below: servers.Below, Metrics: metrics,
		Wake: func(ctx context.Context, scope verdict.Scope) error { return wake(ctx, pool, scope) },
	}
	for _, v := range vendors(nil) {
		if v.OAuth != nil {
			cfg.Vendors[v.Name] = *v.OAuth
		}
	}
	tokens, err := oauth.New(store, cfg)
	return tokens, servers, err
}

// calls are what an operator's command reaches vendors with.
type calls struct {
	tokens        *oauth.Tokens
	http, servers *vendorhttp.Client
}

func openCalls(g *globals, store *tenant.Store, pool *pgxpool.Pool, at allowed) (*calls, error) {
	c := &calls{}
	var err error
	if c.tokens, c.servers, err = openTokens(g, store, pool, at, nil); err != nil {
		return nil, err
	}
	to := at.client()
	to.Tokens, to.Health = c.tokens, store.SetHealth
	c.http, err = vendorhttp.New(to)
	return c, err
}

func (c *calls) close() {
	c.http.Close()
	c.servers.Close()
}
