package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/consumers/timeline"
	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
)

// timelineSchema is the Postgres schema of the timeline, which is its destination's name.
const timelineSchema = "timeline"

type traceCmd struct {
	Deal string `arg:"" help:"Deal key, the beginning of one, or the vendor's id of the record."`
}

// Help is shown by trace --help.
func (traceCmd) Help() string {
	return `Example: conveyance trace 94b1d762

The story that up tells begins with this deal, and shows each one so.`
}

// traceLine is one step of a deal, as --json prints it. The place of an effect is that of its event.
type traceLine struct {
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	EventID   string    `json:"event_id"`
	Version   int64     `json:"version"`
	Line      string    `json:"line"`

	state string // of an effect, as the ledger calls it
}

// stateApplied is an effect that is in place.
const stateApplied = "applied"

// Run prints the steps in order.
func (c *traceCmd) Run(ctx context.Context, g *globals) error {
	pool, err := g.open(ctx, "trace")
	if err != nil {
		return err
	}
	defer pool.Close()
	key, err := findDeal(ctx, pool, c.Deal)
	if err != nil {
		return err
	}
	lines, err := trace(ctx, pool, key)
	if err != nil {
		return err
	}
	if g.JSON {
		return printLines(g, lines)
	}
	_, _ = fmt.Fprintln(g.out, key)
	return table(g.out, func(w *tabwriter.Writer) {
		for _, l := range lines {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s/%d@%d\n", l.At.Format("15:04:05.000"), l.Kind, l.Line, l.Topic, l.Partition, l.Offset)
		}
	})
}

// errManyDeals lists what a text may mean.
type errManyDeals struct {
	text string
	keys []string
}

func (e errManyDeals) Error() string {
	list := strings.Join(e.keys[:min(len(e.keys), 10)], "\n  ")
	return fmt.Sprintf("%d deals begin with %q; say which:\n  %s", len(e.keys), e.text, list)
}

// errNoDeal means that the timeline has no such deal.
var errNoDeal = errors.New("no deal's key or vendor id begins with that")

func findDeal(ctx context.Context, pool *pgxpool.Pool, text string) (string, error) {
	keys, err := timeline.Find(ctx, pool, timelineSchema, text)
	switch {
	case err != nil:
		return "", err
	case len(keys) == 0:
		return "", fmt.Errorf("%w: %s", errNoDeal, text)
	case len(keys) > 1 && keys[0] != text:
		return "", errManyDeals{text, keys}
	}
	return keys[0], nil
}

// trace is the deal's timeline with the effects of its events.
func trace(ctx context.Context, pool *pgxpool.Pool, key string) ([]traceLine, error) {
	entries, err := timeline.Deal(ctx, pool, timelineSchema, key)
	if err != nil {
		return nil, err
	}
	var lines []traceLine
	var ids []uuid.UUID
	for _, e := range entries {
		l := traceLine{
			At: e.At, Kind: e.Kind, Topic: e.Topic, Partition: e.Partition, Offset: e.Offset, Version: e.Version, Line: e.Line,
		}
		if e.EventID != nil {
			l.EventID = e.EventID.String()
			ids = append(ids, *e.EventID)
		}
		lines = append(lines, l)
	}
	effects, err := effectsOf(ctx, pool, ids)
	if err != nil {
		return nil, err
	}
	for _, e := range effects {
		i := slices.IndexFunc(lines, func(l traceLine) bool { return l.EventID == e.EventID })
		e.Topic, e.Partition, e.Offset, e.Version = lines[i].Topic, lines[i].Partition, lines[i].Offset, lines[i].Version
		lines = append(lines, e)
	}
	slices.SortStableFunc(lines, func(a, b traceLine) int { return cmp.Compare(a.At.UnixMicro(), b.At.UnixMicro()) })
	return lines, nil
}

// effectsOf is what the keyed groups did for events, with the destinations' receipts; trace says where
// the events are.
func effectsOf(ctx context.Context, pool *pgxpool.Pool, ids []uuid.UUID) ([]traceLine, error) {
	groups, err := fleet.New(pool, tenant.Schema).Groups(ctx)
	if err != nil {
		return nil, err
	}
	var lines []traceLine
	for _, gr := range groups {
		if !gr.Keyed {
			continue
		}
		effects, err := ledger.Effects(ctx, pool, gr.Schema, ids)
		if err != nil {
			return nil, err
		}
		for _, e := range effects {
			at := e.ClaimedAt
			if e.DoneAt != nil {
				at = e.DoneAt
			}
			if at == nil {
				continue
			}
			line := fmt.Sprintf("%s: %s", gr.Name, e.Line)
			if e.State != stateApplied {
				line += " (" + e.State + ")"
			}
			if e.Ref != "" {
				line += " → " + e.Ref
			}
			lines = append(lines, traceLine{At: at.UTC(), Kind: timeline.Effect, EventID: e.EID.String(), Line: line, state: e.State})
		}
	}
	return lines, nil
}
