package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/avro/wire"
	"conveyance/internal/stream"
	"conveyance/processors/link"
	"conveyance/processors/translate"
)

type linkCmd struct {
	List    linkListCmd    `cmd:"" help:"List signed records that have no deal, the longest waiting first, with the likeliest deals."`
	Suggest linkSuggestCmd `cmd:"" help:"Rank the deals to which a record may belong, with what speaks for each."`
	Set     linkSetCmd     `cmd:"" help:"Tie a record to a deal, whatever was decided before."`
	Undo    linkUndoCmd    `cmd:"" help:"Untie a record from its deal; it is then tied by a person alone."`
}

type linkListCmd struct {
	Tenant string `help:"Brokerage."`
}

// Help is shown by link list --help.
func (linkListCmd) Help() string { return "Example: conveyance link list --tenant lakeshore" }

// Run lists.
func (c *linkListCmd) Run(ctx context.Context, g *globals) error {
	pool, err := g.open(ctx, "link")
	if err != nil {
		return err
	}
	defer pool.Close()
	all, err := link.NewDesk(pool, translate.Schema, nil).List(ctx, c.Tenant)
	if err != nil {
		return err
	}
	if g.JSON {
		return printLines(g, all)
	}
	if len(all) == 0 {
		_, _ = fmt.Fprintln(g.out, "every signed record has its deal")
		return nil
	}
	return table(g.out, func(w *tabwriter.Writer) {
		_, _ = fmt.Fprintln(w, "RECORD\tCAUSE\tSINCE\tCLAIMS\tLIKELIEST DEAL\tMATCHES")
		for _, u := range all {
			deal, matches := "none shares a claim", ""
			if len(u.Deals) > 0 {
				deal, matches = u.Deals[0].Deal, matched(u.Deals[0])
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Resource, unlinkedCause(u), ago(u.Since), kindsOf(u.Claims), deal, matches)
		}
	})
}

func unlinkedCause(u link.Unlinked) string {
	if u.Undone {
		return translate.CauseUndone
	}
	return translate.CauseNoDeal
}

func matched(s link.Suggestion) string {
	if s.Contradicts {
		return kindsOf(s.Matches) + " (but a number or the address is another)"
	}
	return kindsOf(s.Matches)
}

// kindsOf says how often each kind comes; they are sorted.
func kindsOf(kinds []string) string {
	var words []string
	for i := 0; i < len(kinds); {
		n := 1
		for i+n < len(kinds) && kinds[i+n] == kinds[i] {
			n++
		}
		word := kinds[i]
		if n > 1 {
			word = fmt.Sprintf("%d %s", n, word)
		}
		words = append(words, word)
		i += n
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

type linkSuggestCmd struct {
	Record string `arg:"" help:"Record key, the beginning of one, or the vendor's id of the record."`
}

// Help is shown by link suggest --help.
func (linkSuggestCmd) Help() string {
	return "Example: conveyance link suggest lakeshore/docusign/main/envelope/4d3420b8"
}

// Run ranks.
func (c *linkSuggestCmd) Run(ctx context.Context, g *globals) error {
	pool, err := g.open(ctx, "link")
	if err != nil {
		return err
	}
	defer pool.Close()
	key, err := recordKey(ctx, pool, c.Record)
	if err != nil {
		return err
	}
	u, err := link.NewDesk(pool, translate.Schema, nil).Suggest(ctx, key)
	if err != nil {
		return err
	}
	return g.print(u, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s\n%s since %s; it claims %s\n", u.Resource, unlinkedCause(u), ago(u.Since), kindsOf(u.Claims))
		for _, s := range u.Deals {
			_, _ = fmt.Fprintf(w, "  %s  %s\n", s.Deal, matched(s))
		}
		if len(u.Deals) == 0 {
			_, _ = fmt.Fprintln(w, "  no deal shares a claim: it is looked for whenever one comes or changes")
			return
		}
		_, _ = fmt.Fprintf(w, "tie it by: conveyance link set '%s' '%s'\n", u.Resource, u.Deals[0].Deal)
	})
}

type linkSetCmd struct {
	Record string `arg:"" help:"Record key, the beginning of one, or the vendor's id of the record."`
	Deal   string `arg:"" help:"Deal key, the beginning of one, or the vendor's id of the deal."`
	Reason string `help:"Why; goes into the history." default:"set by hand"`
}

// Help is shown by link set --help.
func (linkSetCmd) Help() string {
	return `Where the record was tied to another deal, that is undone first; both stand on the bus, with who did it.

Example: conveyance link set lakeshore/docusign/main/envelope/4d3420b8 lakeshore/skyslope/main/sale/5342bb92`
}

// Run ties.
func (c *linkSetCmd) Run(ctx context.Context, g *globals) error {
	return decideLink(ctx, g, c.Record, func(pool *pgxpool.Pool, d *link.Desk, record string) (link.Decision, error) {
		deal, err := recordKey(ctx, pool, c.Deal)
		if err != nil {
			return link.Decision{}, err
		}
		return d.Set(ctx, record, deal, actor(), c.Reason)
	})
}

type linkUndoCmd struct {
	Record string `arg:"" help:"Record key, the beginning of one, or the vendor's id of the record."`
	Reason string `help:"Why; goes into the history and onto the bus." required:""`
}

// Help is shown by link undo --help.
func (linkUndoCmd) Help() string {
	return `The record is listed as without a deal until link set; the ladder decides no more about it.

Example: conveyance link undo --reason "the other Larkspur Lane" lakeshore/docusign/main/envelope/4d3420b8`
}

// Run unties.
func (c *linkUndoCmd) Run(ctx context.Context, g *globals) error {
	return decideLink(ctx, g, c.Record, func(_ *pgxpool.Pool, d *link.Desk, record string) (link.Decision, error) {
		return d.Undo(ctx, record, actor(), c.Reason)
	})
}

// decideLink opens a desk that can nudge, has it decide, and says what was decided.
func decideLink(
	ctx context.Context, g *globals, text string,
	decide func(*pgxpool.Pool, *link.Desk, string) (link.Decision, error),
) error {
	if err := g.resolve(needKafka | needRegistry | needPostgres); err != nil {
		return err
	}
	pool, err := g.open(ctx, "link")
	if err != nil {
		return err
	}
	defer pool.Close()
	codec, err := wire.New(wire.Config{Registry: g.RegistryURL, Prefix: g.TopicPrefix})
	if err != nil {
		return err
	}
	opts, err := g.kafka(operator)
	if err != nil {
		return err
	}
	publisher, err := stream.NewPublisher(g.TopicPrefix, stream.Deps{Kafka: opts, Codec: codec})
	if err != nil {
		return err
	}
	defer publisher.Close()
	record, err := recordKey(ctx, pool, text)
	if err != nil {
		return err
	}
	d, err := decide(pool, link.NewDesk(pool, translate.Schema, translate.NewNudger(pool, translate.Schema, codec, publisher)), record)
	switch {
	case err != nil && d.Seq > 0:
		return fmt.Errorf("decision %d stands, and is not told yet: run the same command again: %w", d.Seq, err)
	case errors.Is(err, link.ErrChanged):
		return fmt.Errorf("%w: look again with conveyance why '%s'", err, record)
	case err != nil:
		return err
	}
	return g.print(d, func(w io.Writer) { _, _ = fmt.Fprintln(w, linkSentence(d)) })
}

// recordKey is the key that a text means; one that nothing was told about is taken as it is, since what
// waits from the first has no timeline.
func recordKey(ctx context.Context, pool *pgxpool.Pool, text string) (string, error) {
	key, err := findDeal(ctx, pool, text)
	if errors.Is(err, errNoDeal) {
		return text, nil
	}
	return key, err
}

// linkSentence tells a decision.
func linkSentence(d link.Decision) string {
	by := "by " + strings.ToLower(strings.ReplaceAll(string(d.Rung), "_", " "))
	if d.Actor != nil {
		by = "by " + *d.Actor
	}
	if d.Deal == "" {
		return fmt.Sprintf("%s was untied from its deal %s, %s ago: %s.", d.Resource, by, ago(d.At), d.Reason)
	}
	return fmt.Sprintf("%s belongs to deal %s, tied %s, %s ago.", d.Resource, d.Deal, by, ago(d.At))
}

// whyLinks says of a record to which deal it is tied, or of a deal what is tied to it.
func (w *whyOf) whyLinks(ctx context.Context, pool *pgxpool.Pool, key string) error {
	desk := link.NewDesk(pool, translate.Schema, nil)
	history, err := desk.History(ctx, key)
	if err != nil {
		return err
	}
	if n := len(history); n > 0 {
		w.add("%s", linkSentence(history[n-1]))
	}
	tied, err := desk.OfDeal(ctx, key)
	if err != nil {
		return err
	}
	for _, d := range tied {
		w.add("%s", linkSentence(d))
	}
	if u, err := desk.Suggest(ctx, key); err == nil {
		w.add("It waits for its deal since %s: conveyance link suggest '%s' ranks the deals.", ago(u.Since), key)
	} else if !errors.Is(err, link.ErrUnknown) {
		return err
	}
	return nil
}
