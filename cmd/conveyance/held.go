package main

import (
	"context"
	"fmt"
	"io"
	"os/user"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/processors/fetch"
)

type heldCmd struct {
	List    heldListCmd    `cmd:"" help:"List held keys, the longest waiting first."`
	Show    heldShowCmd    `cmd:"" help:"Show one key: its records, its effects so far, and the evidence of calls."`
	Release heldReleaseCmd `cmd:"" help:"Ask the owners to try held keys now."`
	Drop    heldDropCmd    `cmd:"" help:"Discard a key's records without applying them."`
	Settle  heldSettleCmd  `cmd:"" help:"Say what became of a call whose outcome nobody could tell."`
}

// heldFilter chooses keys of the queues of all groups.
type heldFilter struct {
	Adapter string `help:"Consumer group, for example followupboss or translate."`
	Tenant  string `help:"Brokerage."`
	Cause   string `help:"Cause, as list prints it."`
	Key     string `help:"Record key: a deal key, resource key or contact key."`
}

func (f heldFilter) ledger() ledger.Filter {
	return ledger.Filter{Tenant: f.Tenant, Cause: f.Cause, Key: f.Key}
}

// heldLine is one held key with the group that holds it.
type heldLine struct {
	Adapter string `json:"adapter"`
	ledger.Held
}

// queues calls fn with the queue of each group that the filter names.
func queues(ctx context.Context, pool *pgxpool.Pool, adapter string, fn func(fleet.Group, *ledger.Queue) error) error {
	groups, err := fleet.New(pool, tenant.Schema).Groups(ctx)
	if err != nil {
		return err
	}
	found := false
	for _, gr := range groups {
		if adapter != "" && gr.Name != adapter {
			continue
		}
		found = true
		if err := fn(gr, ledger.NewQueue(pool, gr.Schema)); err != nil {
			return fmt.Errorf("queue of %s: %w", gr.Name, err)
		}
	}
	if !found && adapter != "" && adapter != fetch.Schema { // fetch has no queue without webhooks
		return fmt.Errorf("no group is called %s: conveyance status lists them", adapter)
	}
	return nil
}

// actor is who is written into the audit.
func actor() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

type heldListCmd struct{ heldFilter }

// Help is shown by held list --help.
func (heldListCmd) Help() string { return "Example: conveyance held list --tenant lakeshore" }

// Run lists.
func (c *heldListCmd) Run(ctx context.Context, g *globals) error {
	pool, err := g.open(ctx, "held")
	if err != nil {
		return err
	}
	defer pool.Close()
	lines, err := heldByFetch(ctx, pool, c.heldFilter)
	if err != nil {
		return err
	}
	err = queues(ctx, pool, c.Adapter, func(gr fleet.Group, q *ledger.Queue) error {
		held, err := q.List(ctx, c.ledger())
		for _, h := range held {
			lines = append(lines, heldLine{gr.Name, h})
		}
		return err
	})
	if err != nil {
		return err
	}
	if g.JSON {
		return printLines(g, lines)
	}
	if len(lines) == 0 {
		_, _ = fmt.Fprintln(g.out, "nothing is held")
		return nil
	}
	return table(g.out, func(w *tabwriter.Writer) {
		_, _ = fmt.Fprintln(w, "ADAPTER\tKIND\tCAUSE\tRECORDS\tSINCE\tNEXT TRY\tKEY")
		for _, l := range lines {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.Adapter, l.Kind, l.Cause, l.Count, ago(l.Since), next(l.NextTry, l.ReleaseWanted), l.Key)
		}
	})
}

type heldShowCmd struct {
	Key     string `arg:"" help:"Record key, as list prints it."`
	Adapter string `help:"Consumer group; default: every group that holds the key."`
}

// Help is shown by held show --help.
func (heldShowCmd) Help() string {
	return "Example: conveyance held show lakeshore/skyslope/main/sale/5342bb92-4f6d-4df2-bb03-7be81e2336c7"
}

// Run shows.
func (c *heldShowCmd) Run(ctx context.Context, g *globals) error {
	pool, err := g.open(ctx, "held")
	if err != nil {
		return err
	}
	defer pool.Close()
	shown := false
	err = queues(ctx, pool, c.Adapter, func(gr fleet.Group, q *ledger.Queue) error {
		held, err := q.List(ctx, ledger.Filter{Key: c.Key})
		if err != nil {
			return err
		}
		for _, h := range held {
			d, err := q.Show(ctx, h.Topic, h.Key)
			if err != nil {
				return err
			}
			shown = true
			if err := g.print(struct {
				Adapter string `json:"adapter"`
				ledger.Detail
			}{gr.Name, d}, func(w io.Writer) { printDetail(w, gr.Name, d) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && !shown {
		err = fmt.Errorf("no group holds %s: conveyance held list shows what is held", c.Key)
	}
	return err
}

func printDetail(w io.Writer, group string, d ledger.Detail) {
	_, _ = fmt.Fprintf(w, "%s holds %s\n  %s: %s (%s), since %s, next try %s\n  %s\n", group, d.Key, d.Kind, d.Cause, d.Scope, ago(d.Since), next(d.NextTry, d.ReleaseWanted), d.Detail)
	for _, r := range d.Records {
		_, _ = fmt.Fprintf(w, "  offset %d  %s  %d bytes  %s  attempts %d  %s\n", r.Offset, r.Headers["ce_type"], r.Bytes, r.Cause, r.Attempts, r.Headers["ce_id"])
	}
	for _, e := range d.Effects {
		_, _ = fmt.Fprintf(w, "  effect  %s  %s  %s\n", e.State, e.Ref, e.Line)
	}
	for _, e := range d.Evidence {
		_, _ = fmt.Fprintf(w, "  evidence  %s  %s\n", e.At.Format(time.RFC3339), e.Outcome)
	}
}

type heldReleaseCmd struct {
	heldFilter
	All    bool   `help:"Release everything that is held; needed where no filter is given."`
	Reason string `help:"Why; goes into the audit." default:"released by hand"`
}

// Help is shown by held release --help.
func (heldReleaseCmd) Help() string {
	return `Release is a wish that each partition's owner carries out, in order; twice is once.

Example: conveyance held release --tenant lakeshore --cause "contract broken"`
}

// Run releases.
func (c *heldReleaseCmd) Run(ctx context.Context, g *globals) error {
	if c.heldFilter == (heldFilter{}) && !c.All {
		return errUsage("say what to release by --adapter, --tenant, --cause or --key, or give --all")
	}
	pool, err := g.open(ctx, "held")
	if err != nil {
		return err
	}
	defer pool.Close()
	n, err := releaseFetch(ctx, pool, c.heldFilter)
	if err != nil {
		return err
	}
	err = queues(ctx, pool, c.Adapter, func(_ fleet.Group, q *ledger.Queue) error {
		m, err := q.Release(ctx, c.ledger(), actor(), c.Reason)
		n += m
		return err
	})
	if err != nil {
		return err
	}
	return g.print(map[string]int64{"released": n}, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%d keys will be tried now; conveyance held list shows what stays\n", n)
	})
}

type heldDropCmd struct {
	Key     string `arg:"" help:"Record key, as list prints it."`
	Adapter string `help:"Consumer group." required:""`
	Reason  string `help:"Why; goes into the audit." required:""`
}

// Help is shown by held drop --help.
func (heldDropCmd) Help() string {
	return `The records are marked as discarded, not deleted; their events have no effect at this destination.

Example: conveyance held drop --adapter followupboss --reason "test deal" lakeshore/skyslope/main/sale/5342bb92`
}

// Run drops.
func (c *heldDropCmd) Run(ctx context.Context, g *globals) error {
	return heldKey(ctx, g, c.Adapter, c.Key, func(q *ledger.Queue, topic string) error {
		return q.Drop(ctx, topic, c.Key, actor(), c.Reason)
	})
}

type heldSettleCmd struct {
	Key     string `arg:"" help:"Record key, as list prints it."`
	Adapter string `help:"Consumer group." required:""`
	Outcome string `help:"applied: the effect is in place. again: it is not, and may be sent." enum:"applied,again" required:""`
	Reason  string `help:"How you know; goes into the audit." required:""`
}

// Help is shown by held settle --help.
func (heldSettleCmd) Help() string {
	return `For calls to a destination that can neither be read back nor remembers a key. Look at the destination first.

Example: conveyance held settle --adapter books --outcome applied --reason "invoice 1042 is there" KEY`
}

// Run settles.
func (c *heldSettleCmd) Run(ctx context.Context, g *globals) error {
	return heldKey(ctx, g, c.Adapter, c.Key, func(q *ledger.Queue, topic string) error {
		return q.Settle(ctx, topic, c.Key, c.Outcome == "applied", actor(), c.Reason)
	})
}

// heldKey does one thing to a key on each topic on which a group holds it.
func heldKey(ctx context.Context, g *globals, adapter, key string, do func(*ledger.Queue, string) error) error {
	pool, err := g.open(ctx, "held")
	if err != nil {
		return err
	}
	defer pool.Close()
	asked := false
	err = queues(ctx, pool, adapter, func(_ fleet.Group, q *ledger.Queue) error {
		asked = true
		held, err := q.List(ctx, ledger.Filter{Key: key})
		if err != nil {
			return err
		}
		if len(held) == 0 {
			return notQueued(ctx, pool, adapter, key)
		}
		for _, h := range held {
			if err := do(q, h.Topic); err != nil {
				return err
			}
			if err := g.print(h, func(w io.Writer) { _, _ = fmt.Fprintf(w, "%s: asked its owner\n", h.Key) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && !asked {
		err = notQueued(ctx, pool, adapter, key)
	}
	return err
}

// ago is how long something has lasted, for people.
func ago(t time.Time) string {
	return time.Since(t).Round(time.Second).String()
}

func next(t *time.Time, wanted bool) string {
	switch {
	case wanted:
		return "now"
	case t == nil:
		return "never by itself"
	case time.Until(*t) < 0:
		return "now"
	default:
		return "in " + time.Until(*t).Round(time.Second).String()
	}
}
