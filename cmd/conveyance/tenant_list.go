package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/tenant"
	"conveyance/producers/ingest"
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
	Delivered  *time.Time           `json:"delivered"`      // its last signed webhook; null where none came
	Keys       []keyLine            `json:"keys"`           // that may sign its webhooks
}

// keyLine is one webhook key, as --json prints it: a key rotates by them.
type keyLine struct {
	Key       string     `json:"key"`
	NotBefore *time.Time `json:"not_before"`
	NotAfter  *time.Time `json:"not_after"`
	UsedAt    *time.Time `json:"used_at"` // null where it signed nothing yet
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
	door, err := lookAtDoor(ctx, pool)
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
			lines = append(lines, tenantLine{
				t.ID, t.Name, a.Vendor + "/" + a.Name, a.ExternalID, state, a.Health.Reconnect(), live,
				optional(door.came[a.Key()]), door.keys(store, a),
			})
		}
	}
	if g.JSON {
		return printLines(g, lines)
	}
	return table(g.out, func(w *tabwriter.Writer) {
		_, _ = fmt.Fprintln(w, "TENANT\tNAME\tACCOUNT\tEXTERNAL ID\tLAST WEBHOOK\tKEYS\tSTATE")
		for _, l := range lines {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Tenant, l.Name, l.Account, l.ExternalID,
				lately(l.Delivered), keyWords(l.Keys), strings.TrimSpace(l.State+" "+l.Link))
		}
	})
}

// atDoor is what the door knows of accounts.
type atDoor struct {
	came map[string]time.Time // by account key
	used map[string]time.Time // by account key and id of the key
}

func lookAtDoor(ctx context.Context, pool *pgxpool.Pool) (d atDoor, err error) {
	desk := ingest.NewDesk(pool, ingest.Schema)
	if d.came, err = desk.Came(ctx); err != nil {
		return d, err
	}
	uses, err := desk.Keys(ctx)
	d.used = map[string]time.Time{}
	for _, u := range uses {
		d.used[u.Tenant+"/"+u.Vendor+"/"+u.Account+" "+u.Key] = u.UsedAt
	}
	return d, err
}

func (d atDoor) keys(store *tenant.Store, a tenant.Account) []keyLine {
	lines := []keyLine{}
	for _, k := range store.WebhookKeys(a) {
		lines = append(lines, keyLine{k.ID, optional(k.NotBefore), optional(k.NotAfter), optional(d.used[a.Key()+" "+k.ID])})
	}
	return lines
}

// optional is nil for no time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func lately(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return ago(*t) + " ago"
}

// keyWords say which keys may sign, and when each last did.
func keyWords(keys []keyLine) string {
	words := make([]string, 0, len(keys))
	for _, k := range keys {
		used := "never used"
		if k.UsedAt != nil {
			used = "used " + lately(k.UsedAt)
		}
		words = append(words, k.Key+" "+used)
	}
	return cmp.Or(strings.Join(words, ", "), "-")
}
