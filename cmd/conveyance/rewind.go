package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"

	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
)

type rewindCmd struct {
	Topic     string `arg:"" help:"Topic without prefix, for example deals.v1."`
	Adapter   string `help:"Consumer group, for example followupboss or translate." required:""`
	Partition int32  `help:"Partition." required:""`
	To        string `help:"start or end of the log, or an offset." default:"start"`
	Reason    string `help:"Why; goes into the audit." required:""`
}

// Help is shown by rewind --help.
func (rewindCmd) Help() string {
	return `For a partition that is stalled since its stored offset lies outside the log: the log was cut, or is another one. What the ledger holds does not happen again; forward, it jumps over no effect under way.

Example: conveyance rewind deals.v1 --adapter followupboss --partition 3 --reason 'the log was cut'`
}

// Run sets where the group stands; the running owner claims anew and goes on from there.
func (c *rewindCmd) Run(ctx context.Context, g *globals) error {
	pool, err := g.open(ctx, "rewind")
	if err != nil {
		return err
	}
	defer pool.Close()
	at, err := c.offset(ctx, g)
	if err != nil {
		return err
	}
	err = queues(ctx, pool, c.Adapter, func(gr fleet.Group, _ *ledger.Queue) error {
		return ledger.Rewind(ctx, pool, gr.Schema, ledger.Place{Topic: c.Topic, Part: c.Partition}, at, actor(), c.Reason)
	})
	if err != nil {
		return err
	}
	done := map[string]any{"adapter": c.Adapter, "topic": c.Topic, "partition": c.Partition, "offset": at}
	return g.print(done, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s goes on at offset %d of %s/%d\n", c.Adapter, at, c.Topic, c.Partition)
	})
}

func (c *rewindCmd) offset(ctx context.Context, g *globals) (at int64, err error) {
	if c.To != "start" && c.To != "end" {
		if at, err = strconv.ParseInt(c.To, 10, 64); err != nil {
			return 0, fmt.Errorf("reading --to %s: say start, end or an offset", c.To)
		}
		return at, nil
	}
	err = g.admin(ctx, func(ctx context.Context, adm *kadm.Client) error {
		list := adm.ListStartOffsets
		if c.To == "end" {
			list = adm.ListEndOffsets
		}
		all, err := list(ctx, g.TopicPrefix+c.Topic)
		if err != nil {
			return err
		}
		o, found := all.Lookup(g.TopicPrefix+c.Topic, c.Partition)
		if !found {
			return fmt.Errorf("%s has no partition %d: conveyance topics list shows what there is", c.Topic, c.Partition)
		}
		at = o.Offset
		return o.Err
	})
	return at, err
}
