package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"conveyance/consumers"
	"conveyance/internal/observe"
	"conveyance/internal/tenant"
	"conveyance/producers"
	producerreg "conveyance/producers/register"
)

type tenantCheckCmd struct {
	Tenant string `arg:"" optional:"" help:"One brokerage; default: all."`
}

// Help is shown by tenant check --help.
func (tenantCheckCmd) Help() string { return "Example: conveyance tenant check lakeshore" }

// Run asks the vendors.
func (c *tenantCheckCmd) Run(ctx context.Context, g *globals, of *tenantCmd) error {
	key, err := of.key(g)
	if err != nil {
		return err
	}
	store, pool, err := openTenants(ctx, g, key)
	if err != nil {
		return err
	}
	defer pool.Close()
	defer store.Close()
	log, err := g.logger("tenant")
	if err != nil {
		return err
	}
	calls, err := openCalls(g, store, pool, of.allows(g))
	if err != nil {
		return err
	}
	defer calls.close()
	all, err := store.Tenants(ctx)
	if err != nil {
		return err
	}
	if c.Tenant != "" {
		one, err := store.Tenant(ctx, c.Tenant)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Tenant, err)
		}
		all = []tenant.Tenant{one}
	}
	ask, err := checkers(g, consumers.Deps{Pool: pool, Tenants: store, HTTP: calls.http, Log: log, Metrics: observe.NewRegistry()})
	if err != nil {
		return err
	}
	for _, v := range vendors(nil) {
		if v.Webhook != nil {
			ask[v.Name] = append(ask[v.Name], signs{store})
		}
	}
	g.count(all, ask)
	findings := tenant.Check(ctx, all, ask)
	for _, f := range findings {
		if err := g.print(f, func(w io.Writer) { _, _ = fmt.Fprintf(w, "%s %s: %s: %s\n", f.Tenant, f.Account, f.What, f.Remedy) }); err != nil {
			return err
		}
	}
	if len(findings) > 0 {
		return errFound
	}
	if !g.JSON {
		_, _ = fmt.Fprintf(g.out, "%d brokerages: every account works as configured\n", len(all))
	}
	return nil
}

// checkers are those of sources and destinations, by vendor.
func checkers(g *globals, deps consumers.Deps) (map[string][]tenant.Checker, error) {
	all, err := producerreg.Vendors(producers.Deps{HTTP: deps.HTTP, PublicURL: g.PublicURL})
	if err != nil {
		return nil, err
	}
	out := map[string][]tenant.Checker{}
	for _, v := range all {
		if v.Checker != nil {
			out[v.Name] = append(out[v.Name], v.Checker)
		}
	}
	for _, d := range destinations() {
		if d.Checker != nil {
			deps.Schema = d.Name
			out[d.Vendor] = append(out[d.Vendor], d.Checker(deps))
		}
	}
	return out, nil
}

// signs checks that an account's webhooks can be accepted at all. It asks nobody.
type signs struct{ endpoints tenant.Endpoints }

// Check implements tenant.Checker.
func (s signs) Check(ctx context.Context, _ tenant.Tenant, a tenant.Account) ([]tenant.Finding, error) {
	e, ok := s.endpoints.Endpoint(ctx, a.Vendor, a.WebhookToken)
	switch {
	case !ok:
		return []tenant.Finding{{What: "the account has no webhook address", Remedy: "apply the brokerage's file again"}}, nil
	case !slices.ContainsFunc(e.Keys, func(k tenant.WebhookKey) bool { return k.Live(time.Now()) }):
		return []tenant.Finding{{
			What: "no webhook key is live: every delivery is refused", Remedy: "add the vendor's key under webhook: keys in the brokerage's file and apply it",
		}}, nil
	}
	return nil, nil
}
