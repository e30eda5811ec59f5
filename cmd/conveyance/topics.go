package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"conveyance/avro/topic"
	"conveyance/internal/topics"
)

type topicsCmd struct {
	Apply  topicsApplyCmd  `cmd:"" help:"Make the topics that are missing and configure those that differ; never alters a partition count."`
	Verify topicsVerifyCmd `cmd:"" help:"Say where the cluster's topics differ; exit 3 where they do."`
	List   topicsListCmd   `cmd:"" help:"List the topics with their sizes."`
	ACLs   topicsACLsCmd   `cmd:"" name:"acls" help:"Print, compare or grant the least rights of each process."`
}

// topicFlags say what the topics should be.
type topicFlags struct {
	Partitions  int   `help:"Partitions of each topic; set once, never altered." default:"12"`
	Replication int16 `help:"Copies of each partition; -1 = the cluster's default." default:"-1"`
}

func (f topicFlags) want(g *globals) topics.Want {
	return topics.Want{Prefix: g.TopicPrefix, Table: g.topicTable(f.Partitions), Replication: f.Replication}
}

// admin calls fn with a client of the cluster.
func (g *globals) admin(ctx context.Context, fn func(context.Context, *kadm.Client) error) error {
	if err := g.resolve(needKafka); err != nil {
		return err
	}
	cl, err := g.kafkaClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, adminWithin)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		return g.refused(err)
	}
	return fn(ctx, kadm.NewClient(cl))
}

// adminWithin bounds an operator's question to the cluster.
const adminWithin = 30 * time.Second

type topicsApplyCmd struct{ topicFlags }

// Help is shown by topics apply --help.
func (topicsApplyCmd) Help() string {
	return "Example: conveyance topics apply\n\nIn a cluster of three brokers or more, give --replication 3."
}

// Run applies.
func (c *topicsApplyCmd) Run(ctx context.Context, g *globals) error {
	return g.admin(ctx, func(ctx context.Context, adm *kadm.Client) error {
		changes, err := topics.Apply(ctx, adm, c.want(g))
		for _, ch := range changes {
			if err := g.print(ch, func(w io.Writer) { _, _ = fmt.Fprintln(w, ch.Topic, ch.Action, ch.Detail) }); err != nil {
				return err
			}
		}
		return err
	})
}

// applyTopics is what up does at each start.
func applyTopics(ctx context.Context, g *globals, replication int16) error {
	return g.admin(ctx, func(ctx context.Context, adm *kadm.Client) error {
		_, err := topics.Apply(ctx, adm, topicFlags{topic.PartitionsDefault, replication}.want(g))
		return err
	})
}

type topicsVerifyCmd struct{ topicFlags }

// Help is shown by topics verify --help.
func (topicsVerifyCmd) Help() string {
	return "Example: conveyance topics verify\n\nGive --replication and --partitions as for topics apply."
}

// Run verifies.
func (c *topicsVerifyCmd) Run(ctx context.Context, g *globals) error {
	return g.admin(ctx, func(ctx context.Context, adm *kadm.Client) error {
		differences, err := topics.Verify(ctx, adm, c.want(g))
		if err != nil {
			return err
		}
		for _, d := range differences {
			if err := g.print(d, func(w io.Writer) { _, _ = fmt.Fprintln(w, d.Error()) }); err != nil {
				return err
			}
		}
		if len(differences) > 0 {
			return errFound
		}
		if !g.JSON {
			_, _ = fmt.Fprintln(g.out, "every topic is as it should be")
		}
		return nil
	})
}

type topicsListCmd struct{}

// Help is shown by topics list --help.
func (topicsListCmd) Help() string { return "Example: conveyance topics list" }

// Run lists.
func (topicsListCmd) Run(ctx context.Context, g *globals) error {
	return g.admin(ctx, func(ctx context.Context, adm *kadm.Client) error {
		all, err := topics.List(ctx, adm, g.TopicPrefix)
		if err != nil {
			return err
		}
		if g.JSON {
			return printLines(g, all)
		}
		return table(g.out, func(w *tabwriter.Writer) {
			_, _ = fmt.Fprintln(w, "TOPIC\tPARTITIONS\tRECORDS\tBYTES\tKEPT\tCLEANUP")
			for _, i := range all {
				bytes, kept := "?", "for ever"
				if i.Bytes != nil {
					bytes = strconv.FormatInt(*i.Bytes, 10)
				}
				if i.Retention >= 0 {
					kept = (time.Duration(i.Retention) * time.Millisecond).String()
				}
				_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\n", i.Topic, i.Partitions, i.Records, bytes, kept, i.Cleanup)
			}
		})
	})
}
