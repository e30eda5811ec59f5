package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/internal/tenant/tenantfile"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
	"conveyance/processors/fetch"
)

type tenantCmd struct {
	allowed
	SealingKey string `env:"CONVEYANCE_SEALING_KEY" help:"File of the key that seals credentials. Default: that of the running up." placeholder:"FILE" type:"path"`

	Apply   tenantApplyCmd   `cmd:"" help:"Make the brokerages as their files say; all or none."`
	Diff    tenantDiffCmd    `cmd:"" help:"Say what apply would change; exit 3 where something would."`
	Connect tenantConnectCmd `cmd:"" help:"Connect a brokerage's accounts: print webhook URLs, ask for consent, make vendors send their webhooks."`
	Check   tenantCheckCmd   `cmd:"" help:"Ask the vendors whether every account works as configured; exit 3 where one does not."`
	Pause   tenantPauseCmd   `cmd:"" help:"Stop all effects and fetches of a brokerage, or one account's calls."`
	Resume  tenantResumeCmd  `cmd:"" help:"End a pause; what was held flows, in order."`
	List    tenantListCmd    `cmd:"" help:"List the brokerages, their accounts and how those are."`
	Key     tenantKeyCmd     `cmd:"" help:"Draw a new sealing key and print it."`
}

// openTenants opens the store with the key that seals its credentials.
func openTenants(ctx context.Context, g *globals, keyFile string) (*tenant.Store, *pgxpool.Pool, error) {
	pool, err := g.open(ctx, "tenant")
	if err != nil {
		return nil, nil, err
	}
	var sealer tenant.Sealer
	if keyFile != "" {
		if sealer, err = tenant.ReadSealingKey(keyFile); err != nil {
			pool.Close()
			return nil, nil, err
		}
	}
	store, err := tenant.Open(ctx, pool, tenant.Schema, sealer)
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return store, pool, nil
}

// key is the sealing key's file: the one given, else a running up's.
func (c *tenantCmd) key(g *globals) (string, error) {
	if c.SealingKey != "" {
		return c.SealingKey, nil
	}
	file := (&stack{g: g}).sealingKeyFile()
	if _, err := os.Stat(file); err != nil {
		return "", errors.New("no sealing key: give --sealing-key FILE (or CONVEYANCE_SEALING_KEY)")
	}
	return file, nil
}

// allows says where accounts may live: also on this machine where up runs here.
func (c *tenantCmd) allows(g *globals) allowed {
	_, err := readUp(g.Dir)
	return allowed{AllowLoopback: c.AllowLoopback || err == nil, AllowHost: c.AllowHost}
}

// contract is what tenant files are held against: the registers' schemas.
func contract(at allowed) tenantfile.Contract {
	c := tenantfile.Contract{
		Accounts: map[string][]byte{}, Webhooks: map[string]bool{}, Adapters: map[string]tenantfile.Adapter{}, Env: os.LookupEnv,
		CheckBase: func(base string) error { return vendorhttp.CheckBase(base, at.client()) },
	}
	for _, v := range vendors(nil) {
		c.Accounts[v.Name] = v.AccountSchema
		c.Webhooks[v.Name] = v.Webhook != nil
	}
	for _, d := range destinations() {
		if d.Adapter == nil {
			continue
		}
		c.Adapters[d.Name] = tenantfile.Adapter{Vendor: d.Vendor, Settings: d.SettingsSchema}
		if d.AccountSchema != nil {
			c.Accounts[d.Vendor] = d.AccountSchema
		}
	}
	return c
}

func readTenants(path string, at allowed) ([]tenant.Wanted, error) {
	files, err := tenantfile.Load(path)
	if err != nil {
		return nil, err
	}
	return tenantfile.Read(files, contract(at))
}

// warn tells what is not wrong in the files and a person should look at all the same.
func warn(g *globals, wanted []tenant.Wanted) {
	for _, w := range wanted {
		for _, p := range w.Warnings {
			_, _ = fmt.Fprintln(g.errOut, "warning:", p)
		}
	}
}

type tenantApplyCmd struct {
	File string `short:"f" help:"A tenant's file, or a folder of them." required:"" type:"path"`
}

// Help is shown by tenant apply --help.
func (tenantApplyCmd) Help() string { return "Example: conveyance tenant apply -f .conveyance/tenants" }

// Run applies and wakes what waited for a changed credential.
func (c *tenantApplyCmd) Run(ctx context.Context, g *globals, of *tenantCmd) error {
	key, err := of.key(g)
	if err != nil {
		return err
	}
	r, err := apply(ctx, g, c.File, key, of.allows(g))
	if err != nil {
		return err
	}
	return printChanges(g, r.Changes, "changed")
}

func apply(ctx context.Context, g *globals, path, key string, at allowed) (tenant.Result, error) {
	wanted, err := readTenants(path, at)
	if err != nil {
		return tenant.Result{}, err
	}
	warn(g, wanted)
	store, pool, err := openTenants(ctx, g, key)
	if err != nil {
		return tenant.Result{}, err
	}
	defer pool.Close()
	defer store.Close()
	r, err := store.Apply(ctx, wanted, actor())
	if err != nil {
		return r, err
	}
	return r, wake(ctx, pool, r.Wake...)
}

// applyTenants is what up does at each start: its vendors are on this machine.
func applyTenants(ctx context.Context, g *globals, path, key string) error {
	_, err := apply(ctx, g, path, key, allowed{AllowLoopback: true})
	return err
}

// wake asks the owners of every group, and fetch, to try what waits for scopes.
func wake(ctx context.Context, pool *pgxpool.Pool, scopes ...verdict.Scope) error {
	if len(scopes) == 0 {
		return nil
	}
	groups, err := fleet.New(pool, tenant.Schema).Groups(ctx)
	if err != nil {
		return err
	}
	for _, gr := range groups {
		if _, err := ledger.Wake(ctx, pool, gr.Schema, scopes...); err != nil {
			return fmt.Errorf("waking %s: %w", gr.Name, err)
		}
	}
	_, err = fetch.NewDesk(pool, fetch.Schema, nil, nil).Wake(ctx, scopes...)
	return err
}

func printChanges(g *globals, changes []tenant.Change, done string) error {
	if len(changes) == 0 && !g.JSON {
		_, _ = fmt.Fprintln(g.out, "nothing differs")
	}
	for _, ch := range changes {
		if err := g.print(ch, func(w io.Writer) {
			_, _ = fmt.Fprintf(w, "%s: %s %s %s %s %s\n", done, cmp.Or(ch.Tenant, "every brokerage"), ch.Action, ch.Kind, ch.Name, strings.Join(ch.What, "; "))
		}); err != nil {
			return err
		}
	}
	return nil
}

type tenantDiffCmd struct {
	File string `short:"f" help:"A tenant's file, or a folder of them." required:"" type:"path"`
}

// Help is shown by tenant diff --help.
func (tenantDiffCmd) Help() string { return "Example: conveyance tenant diff -f .conveyance/tenants" }

// Run compares.
func (c *tenantDiffCmd) Run(ctx context.Context, g *globals, of *tenantCmd) error {
	key, err := of.key(g)
	if err != nil {
		return err
	}
	wanted, err := readTenants(c.File, of.allows(g))
	if err != nil {
		return err
	}
	warn(g, wanted)
	store, pool, err := openTenants(ctx, g, key)
	if err != nil {
		return err
	}
	defer pool.Close()
	defer store.Close()
	r, err := store.Diff(ctx, wanted)
	if err != nil {
		return err
	}
	if err := printChanges(g, r.Changes, "would change"); err != nil || len(r.Changes) == 0 {
		return err
	}
	return errFound
}

type tenantPauseCmd struct {
	Target string `arg:"" help:"Brokerage, or brokerage/vendor/account."`
}

// Help is shown by tenant pause --help.
func (tenantPauseCmd) Help() string { return "Example: conveyance tenant pause lakeshore" }

// Run pauses.
func (c *tenantPauseCmd) Run(ctx context.Context, g *globals) error {
	store, pool, err := openTenants(ctx, g, "")
	if err != nil {
		return err
	}
	defer pool.Close()
	defer store.Close()
	if err := store.Pause(ctx, c.Target, actor()); err != nil {
		return fmt.Errorf("%s: %w", c.Target, err)
	}
	return g.print(map[string]string{"paused": c.Target}, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s is paused; every process sees it within %s\n", c.Target, tenant.RefreshAfter)
	})
}

type tenantResumeCmd struct {
	Target string `arg:"" help:"Brokerage, or brokerage/vendor/account."`
}

// Help is shown by tenant resume --help.
func (tenantResumeCmd) Help() string { return "Example: conveyance tenant resume lakeshore" }

// Run resumes.
func (c *tenantResumeCmd) Run(ctx context.Context, g *globals) error {
	store, pool, err := openTenants(ctx, g, "")
	if err != nil {
		return err
	}
	defer pool.Close()
	defer store.Close()
	scope, err := store.Resume(ctx, c.Target, actor())
	if err != nil {
		return fmt.Errorf("%s: %w", c.Target, err)
	}
	if err := wake(ctx, pool, scope); err != nil {
		return err
	}
	return g.print(map[string]string{"resumed": c.Target}, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s is resumed; what was held flows, in order\n", c.Target)
	})
}
