package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

type tenantListCmd struct{}

// Help is shown by tenant list --help.
func (tenantListCmd) Help() string { return "Example: conveyance tenant list" }

// tenantLine is one account, as --json prints it.
type tenantLine struct {
	Tenant     string               `json:"tenant"`
	Name       string               `json:"name"`
	Account    string               `json:"account"`
	ExternalID string               `json:"external_id"`
	State      string               `json:"state"`
	Link       string               `json:"link,omitempty"` // where a person connects it again
	Adapters   map[string]time.Time `json:"adapters"`       // effects_from by destination
}

// Run lists.
func (tenantListCmd) Run(ctx context.Context, g *globals) error {
	store, pool, err := openTenants(ctx, g, "")
	if err != nil {
		return err
	}
	defer pool.Close()
	defer store.Close()
	all, err := store.Tenants(ctx)
	if err != nil {
		return err
	}
	var lines []tenantLine
	for _, t := range all {
		live := map[string]time.Time{}
		for name, a := range t.Adapters {
			live[name] = a.EffectsFrom
		}
		for _, a := range t.Accounts {
			state := "works"
			switch {
			case t.Paused, a.Paused:
				state = "paused"
			case a.Health.Reconnect() != "":
				state = "reconnect"
			case a.Health.Refused:
				state = "refused: " + a.Health.Cause
			}
			lines = append(lines, tenantLine{t.ID, t.Name, a.Vendor + "/" + a.Name, a.ExternalID, state, a.Health.Reconnect(), live})
		}
	}
	if g.JSON {
		return printLines(g, lines)
	}
	return table(g.out, func(w *tabwriter.Writer) {
		_, _ = fmt.Fprintln(w, "TENANT\tNAME\tACCOUNT\tEXTERNAL ID\tSTATE")
		for _, l := range lines {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Tenant, l.Name, l.Account, l.ExternalID, strings.TrimSpace(l.State+" "+l.Link))
		}
	})
}
