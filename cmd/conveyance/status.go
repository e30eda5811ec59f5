package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"

	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/processors/fetch"
	"conveyance/processors/translate"
)

type statusCmd struct {
	Fail bool `help:"Exit 3 where a person is needed: parked records, refused accounts, dead groups, vendors' new words."`
}

// Help is shown by status --help.
func (statusCmd) Help() string { return "Example: conveyance status --fail --json" }

// statusOf is the whole picture, as --json prints it.
type statusOf struct {
	Processes []processStatus `json:"processes"`
	Groups    []groupStatus   `json:"groups"`
	Held      []heldStatus    `json:"held"`
	Accounts  []accountStatus `json:"accounts"` // that a person should look at
	Breakers  []breakerStatus `json:"breakers"` // open ones
	// Drift is what vendors wrote in the last days that their contracts here do not know, newest first.
	Drift []translate.Drift `json:"drift"`
}

type processStatus struct {
	fleet.Process
	Ready  bool   `json:"ready"`
	Reason string `json:"reason"` // why not
	Remedy string `json:"remedy"` // what a person does about it; empty where it ends by itself
}

type groupStatus struct {
	Name       string   `json:"name"`
	LagRecords int64    `json:"lag_records"`
	LagSeconds *float64 `json:"lag_seconds"` // age of the oldest record not yet handled; null where there is none
	DrainETA   *float64 `json:"drain_eta"`   // seconds at the pace of the last look; null where it stands still
	Members    int      `json:"members"`     // live processes
}

type heldStatus struct {
	Adapter string        `json:"adapter"`
	Kind    string        `json:"kind"`
	Cause   string        `json:"cause"`
	Scope   verdict.Scope `json:"scope"`
	Count   int64         `json:"count"`
	Oldest  time.Time     `json:"oldest"`
	NextTry *time.Time    `json:"next_try"`
}

// Run prints the picture.
func (c *statusCmd) Run(ctx context.Context, g *globals) error {
	s, err := status(ctx, g)
	if err != nil {
		return err
	}
	if g.JSON {
		err = g.print(s, nil)
	} else {
		err = printStatus(g, s)
	}
	if err == nil && c.Fail && s.needsPerson() {
		return errFound
	}
	return err
}

func (s statusOf) needsPerson() bool {
	return slices.ContainsFunc(s.Held, func(h heldStatus) bool { return h.Kind == "parked" }) ||
		slices.ContainsFunc(s.Accounts, func(a accountStatus) bool { return a.State != "paused" }) ||
		slices.ContainsFunc(s.Processes, func(p processStatus) bool { return p.Remedy != "" }) ||
		slices.ContainsFunc(s.Groups, func(g groupStatus) bool { return g.Members == 0 }) ||
		driftAlarms(s.Drift)
}

func status(ctx context.Context, g *globals) (s statusOf, err error) {
	pool, err := g.open(ctx, "status")
	if err != nil {
		return s, err
	}
	defer pool.Close()
	f := fleet.New(pool, tenant.Schema)
	processes, err := f.Processes(ctx)
	if err != nil {
		return s, err
	}
	processes = replaced(processes)
	s.Processes, s.Breakers = processStates(ctx, processes)
	if s.Groups, err = groupStates(ctx, g, pool, f, processes); err != nil {
		return s, err
	}
	if s.Held, err = heldStates(ctx, pool); err != nil {
		return s, err
	}
	if s.Accounts, err = accountStates(ctx, pool); err != nil {
		return s, err
	}
	s.Drift, err = translate.Drifts(ctx, pool, translate.Schema)
	return s, err
}

// replaced takes off the list who is silent and has a successor on the same machine: a restart is no
// news a minute later.
func replaced(all []fleet.Process) []fleet.Process {
	return slices.DeleteFunc(slices.Clone(all), func(p fleet.Process) bool {
		return !p.Alive && slices.ContainsFunc(all, func(o fleet.Process) bool {
			return o.Alive && o.Name == p.Name && o.Host == p.Host && o.UpSince.After(p.UpSince)
		})
	})
}

// processStates asks each process, side by side, whether it is ready, and which breakers it has open.
func processStates(ctx context.Context, all []fleet.Process) ([]processStatus, []breakerStatus) {
	states, breakers := make([]processStatus, len(all)), make([][]breakerStatus, len(all))
	var asked sync.WaitGroup
	for i, p := range all {
		states[i].Process = p
		if !p.Alive {
			states[i].Reason = "silent for " + ago(p.SeenAt)
			continue
		}
		asked.Go(func() {
			if err := askReady(ctx, p.HTTP); err != nil {
				states[i].Reason, states[i].Remedy = err.Error(), remedy(err.Error())
				return
			}
			states[i].Ready = true
			breakers[i], _ = askBreakers(ctx, p.Name, p.HTTP) // it has just answered
		})
	}
	asked.Wait()
	return states, append([]breakerStatus{}, slices.Concat(breakers...)...)
}

// groupStates says how far each group is behind the ends of its logs.
func groupStates(ctx context.Context, g *globals, pool *pgxpool.Pool, f *fleet.Fleet, ps []fleet.Process) ([]groupStatus, error) {
	if err := g.resolve(needKafka); err != nil {
		return nil, err
	}
	groups, err := f.Groups(ctx)
	if err != nil {
		return nil, err
	}
	cl, err := g.kafkaClient()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	l := lagger{g, pool, kadm.NewClient(cl)}
	out := make([]groupStatus, len(groups))
	p := g.progress("measuring how far the groups are behind", len(groups))
	watch, ctx := errgroup.WithContext(ctx)
	for i, gr := range groups {
		watch.Go(func() (err error) {
			defer p.step()
			out[i], err = l.status(ctx, gr)
			for _, p := range ps {
				if p.Alive && (p.Name == gr.Name || p.Name == "adapter "+gr.Name) {
					out[i].Members++
				}
			}
			return err
		})
	}
	return out, watch.Wait()
}

func heldStates(ctx context.Context, pool *pgxpool.Pool) ([]heldStatus, error) {
	out := []heldStatus{}
	err := queues(ctx, pool, "", func(gr fleet.Group, q *ledger.Queue) error {
		sums, err := q.Sums(ctx)
		for _, s := range sums {
			out = append(out, heldStatus{gr.Name, s.Kind.String(), s.Cause, s.Scope, s.Count, s.Oldest.UTC(), s.NextTry})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	store, err := tenant.Open(ctx, pool, tenant.Schema, nil)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	stuck, err := fetch.NewDesk(pool, fetch.Schema, store, time.Now).Stuck(ctx, fetch.Filter{})
	for _, r := range stuck {
		h := heldStatus{Adapter: "fetch", Kind: r.Kind, Cause: r.Cause, Scope: r.Scope, Count: r.Count, NextTry: r.NextTry}
		if r.Oldest != nil {
			h.Oldest = *r.Oldest
		}
		out = append(out, h)
	}
	return out, err
}

// seconds is a time for people; empty where there is none.
func seconds(s *float64) string {
	if s == nil {
		return ""
	}
	return time.Duration(*s * float64(time.Second)).Round(time.Second).String()
}

func printStatus(g *globals, s statusOf) error {
	err := printState(g, s)
	printDrift(g.out, s.Drift)
	return err
}

func printState(g *globals, s statusOf) error {
	return table(g.out, func(w *tabwriter.Writer) {
		_, _ = fmt.Fprintln(w, "PROCESS\tPID\tUP\tSERVES\tSTATE")
		for _, p := range s.Processes {
			state := "ready"
			if !p.Ready {
				state = strings.TrimSuffix(p.Reason+": "+p.Remedy, ": ")
			}
			_, _ = fmt.Fprintf(w, "%s\t%d\t%s\thttp://%s\t%s\n", p.Name, p.PID, ago(p.UpSince), p.HTTP, state)
		}
		_, _ = fmt.Fprintln(w, "\nGROUP\tLAG\tOLDEST\tDRAINED IN\tMEMBERS")
		for _, gr := range s.Groups {
			_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\n", gr.Name, gr.LagRecords, seconds(gr.LagSeconds), seconds(gr.DrainETA), gr.Members)
		}
		_, _ = fmt.Fprintln(w)
		if len(s.Held)+len(s.Accounts)+len(s.Breakers) == 0 {
			_, _ = fmt.Fprintln(w, "nothing is held, and no account needs a person")
			return
		}
		if len(s.Held) > 0 {
			_, _ = fmt.Fprintln(w, "HELD BY\tKIND\tCAUSE\tRECORDS\tOLDEST\tNEXT TRY\tSCOPE")
			for _, h := range s.Held {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", h.Adapter, h.Kind, h.Cause, h.Count, ago(h.Oldest), next(h.NextTry, false), h.Scope)
			}
		}
		for _, b := range s.Breakers {
			_, _ = fmt.Fprintf(w, "%s leaves %s alone for seconds, since its calls failed in a row\n", b.Process, cmp.Or(b.Account, "all of "+b.Vendor))
		}
		for _, a := range s.Accounts {
			_, _ = fmt.Fprintf(w, "account %s: %s (%s) for %s: %s\n", a.Account, a.State, strings.TrimSpace(a.Cause), ago(a.Since), a.Remedy)
		}
	})
}
