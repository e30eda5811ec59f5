package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/avro/event"
	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/processors/fetch"
	"conveyance/producers/ingest"
)

type whyCmd struct {
	What string `arg:"" help:"A deal (key, its beginning, or the vendor's id), an account (tenant/vendor/name) or a tenant."`
}

// Help is shown by why --help.
func (whyCmd) Help() string { return "Example: conveyance why lakeshore" }

// whyOf is the answer, as --json prints it.
type whyOf struct {
	What      string     `json:"what"`
	Kind      string     `json:"kind"` // deal, account or tenant
	Sentences []string   `json:"sentences"`
	Held      []heldLine `json:"held"`
}

// Run answers in one paragraph.
func (c *whyCmd) Run(ctx context.Context, g *globals) error {
	store, pool, err := openTenants(ctx, g, "")
	if err != nil {
		return err
	}
	defer pool.Close()
	defer store.Close()
	w, err := why(ctx, pool, store, c.What)
	if err != nil {
		return err
	}
	w.Held = append([]heldLine{}, w.Held...) // none is a list, too
	return g.print(w, func(out io.Writer) { _, _ = fmt.Fprintln(out, strings.Join(w.Sentences, " ")) })
}

func why(ctx context.Context, pool *pgxpool.Pool, store *tenant.Store, what string) (whyOf, error) {
	if t, err := store.Tenant(ctx, what); err == nil {
		return whyTenant(ctx, pool, store, t)
	} else if !errors.Is(err, tenant.ErrUnknown) {
		return whyOf{}, err
	}
	if parts := strings.Split(what, "/"); len(parts) == 3 && parts[2] != "" {
		if t, err := store.Tenant(ctx, parts[0]); err == nil {
			if a, ok := t.Account(parts[1], parts[2]); ok {
				return whyAccount(ctx, pool, t, a)
			}
		}
	}
	return whyDeal(ctx, pool, store, what)
}

func whyTenant(ctx context.Context, pool *pgxpool.Pool, store *tenant.Store, t tenant.Tenant) (w whyOf, err error) {
	w = whyOf{What: t.ID, Kind: "tenant"}
	if t.Paused {
		w.add("%s is paused by hand: nothing of it is fetched or applied until conveyance tenant resume %s.", t.Name, t.ID)
	}
	for _, a := range t.Accounts {
		if s := accountSentence(t, a); s != "" {
			w.add("%s", s)
		}
	}
	if err = w.whyWebhooks(ctx, pool, t.ID, "", ""); err != nil {
		return w, err
	}
	if w.Held, err = heldLines(ctx, pool, ledger.Filter{Tenant: t.ID}); err != nil {
		return w, err
	}
	w.tell()
	stuck, err := fetch.NewDesk(pool, fetch.Schema, store, time.Now).Stuck(ctx, fetch.Filter{Tenant: t.ID})
	for _, r := range stuck {
		w.add("fetch: %d of %s/%s wait: %s, next try %s.", r.Count, r.Vendor, r.Account, r.Cause, next(r.NextTry, false))
	}
	w.orNothing("%s waits for nothing.", t.Name)
	return w, err
}

func whyAccount(ctx context.Context, pool *pgxpool.Pool, t tenant.Tenant, a tenant.Account) (w whyOf, err error) {
	w = whyOf{What: a.Key(), Kind: "account"}
	if s := accountSentence(t, a); s != "" {
		w.add("%s", s)
	}
	if err = w.whyWebhooks(ctx, pool, t.ID, a.Vendor, a.Name); err != nil {
		return w, err
	}
	held, err := heldLines(ctx, pool, ledger.Filter{Tenant: t.ID})
	for _, h := range held {
		if string(h.Scope) == "account:"+a.Key() {
			w.Held = append(w.Held, h)
		}
	}
	w.tell()
	w.orNothing("%s works: its last calls were answered, and nothing waits for it.", a.Key())
	return w, err
}

// whyWebhooks tells the door's alarms about a tenant's accounts, or one.
func (w *whyOf) whyWebhooks(ctx context.Context, pool *pgxpool.Pool, tenantID, vendor, account string) error {
	alarms, err := ingest.NewDesk(pool, ingest.Schema).Alarms(ctx, tenantID, vendor, account)
	for _, a := range alarms {
		st := alarmState(a)
		w.add("Webhooks of %s: %s for %s: %s; %s.", st.Account, st.State, ago(st.Since), st.Cause, st.Remedy)
	}
	return err
}

func accountSentence(t tenant.Tenant, a tenant.Account) string {
	switch {
	case a.Paused:
		return fmt.Sprintf("Account %s is paused by hand until conveyance tenant resume %s.", a.Key(), a.Key())
	case a.Health.Reconnect() != "":
		return fmt.Sprintf("%s wants a person's consent for account %s for %s: connect it again (%s), and what waits flows in order.",
			a.Vendor, a.Key(), ago(a.Health.Since), a.Health.Reconnect())
	case a.Health.Refused:
		return fmt.Sprintf("%s refuses account %s (%s) for %s: mend the credential in %s's file and run conveyance tenant apply; "+
			"it is also tried by itself, and what waits flows in order.", a.Vendor, a.Key(), a.Health.Cause, ago(a.Health.Since), t.ID)
	}
	return ""
}

func whyDeal(ctx context.Context, pool *pgxpool.Pool, store *tenant.Store, what string) (w whyOf, err error) {
	key, err := findDeal(ctx, pool, what)
	if errors.Is(err, errNoDeal) {
		held, err := heldLines(ctx, pool, ledger.Filter{Key: what})
		if err != nil {
			return w, err
		}
		if _, unread := whyFetch(ctx, pool, store, what); len(held) == 0 && unread != nil {
			return w, fmt.Errorf("%q is no tenant, no account (tenant/vendor/name) and no deal: conveyance tenant list, or trace, shows what there is", what)
		}
		key = what // it waits, and was no deal yet
	} else if err != nil {
		return w, err
	}
	w = whyOf{What: key, Kind: "deal"}
	y, err := whyFetch(ctx, pool, store, key)
	if err == nil && y.State != fetch.StateClean {
		w.add("%s", y.Sentence)
		if y.State == fetch.StateParked {
			w.add("Release it by: conveyance held release --adapter fetch --key '%s'.", key)
		}
	}
	if w.Held, err = heldLines(ctx, pool, ledger.Filter{Key: key}); err != nil {
		return w, err
	}
	w.tell()
	w.orNothing("Deal %s waits for nothing: conveyance trace shows what became of it.", key)
	return w, w.whyLinks(ctx, pool, key)
}

// whyFetch is what a record waits for before it is read; an error where nobody asked for it.
func whyFetch(ctx context.Context, pool *pgxpool.Pool, store *tenant.Store, key string) (fetch.Why, error) {
	r, err := event.ParseKey(key)
	if err != nil {
		return fetch.Why{}, err
	}
	return fetch.NewDesk(pool, fetch.Schema, store, time.Now).Why(ctx, r)
}

func heldLines(ctx context.Context, pool *pgxpool.Pool, f ledger.Filter) (lines []heldLine, err error) {
	err = queues(ctx, pool, "", func(gr fleet.Group, q *ledger.Queue) error {
		held, err := q.List(ctx, f)
		for _, h := range held {
			lines = append(lines, heldLine{gr.Name, h})
		}
		return err
	})
	return lines, err
}

func (w *whyOf) add(format string, args ...any) {
	w.Sentences = append(w.Sentences, fmt.Sprintf(format, args...))
}

// tell says what the queues hold, a sentence for each cause.
func (w *whyOf) tell() {
	type sum struct {
		first   heldLine
		records int64
		keys    int
	}
	var order []string
	sums := map[string]*sum{}
	for _, h := range w.Held {
		id := h.Adapter + h.Cause + string(h.Scope)
		if sums[id] == nil {
			sums[id] = &sum{first: h}
			order = append(order, id)
		}
		sums[id].records += h.Count
		sums[id].keys++
	}
	for _, id := range order {
		s, h := sums[id], sums[id].first
		records := fmt.Sprintf("%d records", s.records)
		if s.records == 1 {
			records = "1 record"
		}
		of := fmt.Sprintf("%d keys", s.keys)
		if s.keys == 1 {
			of = h.Key
		}
		detail := ""
		if h.Detail != "" {
			detail = " (" + h.Detail + ")"
		}
		w.add("%s holds %s of %s for %s: %s%s.", h.Adapter, records, of, ago(h.Since), h.Cause, detail)
		switch h.Kind {
		case ledger.ParkedKey:
			w.add("Mend it, then: conveyance held release --adapter %s --key '%s'.", h.Adapter, h.Key)
		default:
			w.add("It ends by itself: next try %s, or at once when %s heals.", next(h.NextTry, h.ReleaseWanted), h.Scope)
		}
	}
}

func (w *whyOf) orNothing(format string, args ...any) {
	if len(w.Sentences) == 0 {
		w.add(format, args...)
	}
}
