package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/twmb/franz-go/pkg/kadm"

	"conveyance/avro/topic"
	"conveyance/internal/topics"
	"conveyance/processors/fetch"
	"conveyance/processors/translate"
)

// processes are what each process does with topics; of is the pattern of their principals.
func (g *globals) processes(of string) []topics.Process {
	var hints, snapshots, all []string
	for _, v := range vendors(nil) {
		if v.Webhook != nil {
			hints = append(hints, topic.Webhooks(v.Name))
		}
		snapshots = append(snapshots, topic.Snapshots(v.Name))
	}
	for _, t := range g.topicTable(topic.PartitionsDefault) {
		all = append(all, t.Name)
	}
	ps := []topics.Process{
		{Name: "ingest", Writes: hints},
		{Name: "fetch", Group: fetch.Schema, Reads: hints, Writes: snapshots},
		{Name: "translate", Group: translate.Schema, Reads: snapshots, Writes: []string{topic.Deals, topic.Contacts, topic.Links}},
	}
	for _, d := range destinations() {
		ps = append(ps, topics.Process{Name: "adapter " + d.Name, Group: d.Name, Reads: d.Topics})
	}
	var read []string // by some group, whose lag status measures
	for _, t := range all {
		if slices.ContainsFunc(ps, func(p topics.Process) bool { return slices.Contains(p.Reads, t) }) {
			read = append(read, t)
		}
	}
	ps = append(ps, topics.Process{Name: operator, Reads: read, Writes: snapshots, Makes: all}) // link tells by a snapshot
	for i := range ps {
		ps[i].Principal = strings.NewReplacer("{prefix}", g.TopicPrefix, "{process}", dashed(ps[i].Name)).Replace(of)
	}
	return ps
}

// rights are those of one process, in the name of a user.
func (g *globals) rights(process, user string) []topics.Right {
	ps := slices.DeleteFunc(g.processes(user), func(p topics.Process) bool { return p.Name != process })
	return topics.Rights(g.TopicPrefix, ps)
}

type topicsACLsCmd struct {
	Principal string `help:"How the processes' users are called; {prefix} is the topics' prefix, {process} is ingest, fetch, translate, adapter-<destination> or operator." default:"User:{prefix}{process}"`
	Apply     bool   `help:"Grant what is missing; needs ALTER on the cluster. What is there beyond it stays."`
	Verify    bool   `help:"Compare with the cluster; exit 3 where a right is missing. Needs DESCRIBE on the cluster."`
}

// Help is shown by topics acls --help.
func (topicsACLsCmd) Help() string {
	return `A user per process, each with the least that the process needs: nobody may DELETE. Without --apply and --verify the list is printed and no cluster is asked.

Example: conveyance topics acls

With users of these names, every process and command takes one setting: --kafka-sasl-user conveyance.{process} --kafka-sasl-password-file /run/secrets/{process}`
}

// aclLine is a right and where it stands.
type aclLine struct {
	topics.Right
	Operation string `json:"operation"`
	State     string `json:"state,omitempty"` // "there", "missing" or "granted"; empty = the cluster was not asked
}

// Run prints, compares or grants.
func (c *topicsACLsCmd) Run(ctx context.Context, g *globals) error {
	if err := g.resolve(0); err != nil {
		return err
	}
	rights := topics.Rights(g.TopicPrefix, g.processes(c.Principal))
	lines := make([]aclLine, len(rights))
	for i, r := range rights {
		lines[i] = aclLine{Right: r, Operation: strings.ToUpper(r.Operation.String())}
	}
	missing := 0
	if c.Apply || c.Verify {
		if err := g.admin(ctx, func(ctx context.Context, adm *kadm.Client) (err error) {
			missing, err = c.compare(ctx, adm, rights, lines)
			return err
		}); err != nil {
			return err
		}
	}
	if err := c.show(g, lines); err != nil {
		return err
	}
	if missing > 0 {
		return errFound
	}
	return nil
}

// compare fills in the lines' states, and returns how many rights are missing in the end.
func (c *topicsACLsCmd) compare(ctx context.Context, adm *kadm.Client, rights []topics.Right, lines []aclLine) (int, error) {
	there, err := topics.Granted(ctx, adm, rights)
	if err != nil {
		return 0, err
	}
	var missing []topics.Right
	for i, ok := range there {
		switch {
		case ok:
			lines[i].State = "there"
		case c.Apply:
			lines[i].State, missing = "granted", append(missing, rights[i])
		default:
			lines[i].State, missing = "missing", append(missing, rights[i])
		}
	}
	if !c.Apply {
		return len(missing), nil
	}
	return 0, topics.Grant(ctx, adm, missing)
}

func (c *topicsACLsCmd) show(g *globals, lines []aclLine) error {
	if g.JSON {
		return printLines(g, lines)
	}
	return table(g.out, func(w *tabwriter.Writer) {
		_, _ = io.WriteString(w, "PROCESS\tPRINCIPAL\tOPERATION\tRESOURCE\tNAME\tSTATE\n")
		for _, l := range lines {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Process, l.Principal, l.Operation, l.Kind, l.Name, l.State)
		}
	})
}
