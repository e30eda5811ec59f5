package main

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"conveyance/internal/budget"
	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/processors/fetch"
	"conveyance/processors/translate"
	"conveyance/producers/ingest"
)

type migrateCmd struct {
	Plan bool `help:"Only say what is missing; exit 3 where something is."`
}

// Help is shown by migrate --help.
func (migrateCmd) Help() string {
	return `Migrations only add, so an older build goes on beside a newer schema.

Example: conveyance migrate --plan`
}

// allMigrations is every set of every schema, the shared one first.
func allMigrations() []postgres.Migrations {
	sets := []postgres.Migrations{
		{Schema: tenant.Schema, Set: "tenant", Files: tenant.Migrations()},
		{Schema: tenant.Schema, Set: "budget", Files: budget.Migrations()},
		{Schema: tenant.Schema, Set: "fleet", Files: fleet.Migrations()},
		{Schema: ingest.Schema, Set: "own", Files: ingest.Migrations()},
	}
	group := func(schema string, own postgres.Migrations) {
		own.Schema, own.Set = schema, "own"
		sets = append(sets, postgres.Migrations{Schema: schema, Set: "engine", Files: ledger.Migrations()}, own)
	}
	group(fetch.Schema, postgres.Migrations{Files: fetch.Migrations()})
	group(translate.Schema, postgres.Migrations{Files: translate.Migrations()})
	for _, d := range destinations() {
		group(d.Name, postgres.Migrations{Files: d.Migrations})
	}
	return sets
}

// pending is one migration that has not been applied, as --json prints it.
type pending struct {
	Migration string `json:"migration"`
	Applied   bool   `json:"applied"`
}

// Run applies what is missing, or lists it.
func (c *migrateCmd) Run(ctx context.Context, g *globals) error {
	if err := g.resolve(needPostgres); err != nil {
		return err
	}
	n := 0
	for _, m := range allMigrations() {
		missing, err := m.Pending(ctx, g.PostgresURL)
		if err != nil {
			return g.away(err, "Postgres", "--postgres")
		}
		if !c.Plan && len(missing) > 0 {
			if err := m.Apply(ctx, g.PostgresURL); err != nil {
				return err
			}
		}
		for _, name := range missing {
			n++
			if err := g.print(pending{name, !c.Plan}, func(w io.Writer) { _, _ = fmt.Fprintln(w, name) }); err != nil {
				return err
			}
		}
	}
	if n == 0 && !g.JSON {
		_, _ = fmt.Fprintln(g.out, "nothing is missing")
	}
	if n > 0 && c.Plan {
		return errFound
	}
	return nil
}

// migrateAtOnce is how many schemas are migrated side by side: each needs three connections, and a
// small Postgres has 20.
const migrateAtOnce = 4

// migrateAll is what up does at each start: what is missing, schemas side by side.
func migrateAll(ctx context.Context, url string) error {
	bySchema := map[string][]postgres.Migrations{}
	for _, m := range allMigrations() {
		bySchema[m.Schema] = append(bySchema[m.Schema], m)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(migrateAtOnce)
	for _, sets := range bySchema {
		g.Go(func() error {
			for _, m := range sets {
				missing, err := m.Pending(ctx, url)
				if err == nil && len(missing) > 0 {
					err = m.Apply(ctx, url)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// checkMigrations keeps a stage from starting on a schema that is older than it needs.
func checkMigrations(ctx context.Context, url string, schemas ...string) error {
	for _, m := range allMigrations() {
		for _, s := range schemas {
			if m.Schema == s {
				if err := m.Check(ctx, url); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
