//go:build !image

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"conveyance/internal/chaos"
)

type chaosCmd struct {
	Kills         int    `help:"Processes killed with SIGKILL: any stage, the broker, the registry." default:"60"`
	Events        int64  `help:"Records that the log holds in the end, at least: of all topics, from webhooks to events." default:"8000"`
	Seed          int64  `help:"Seed of the stories and of the choice of faults." default:"7"`
	Zombies       int    `help:"Rounds in which a frozen process wakes after another has taken its place." default:"6"`
	PostgresKills int    `help:"Times that the postmaster is killed with SIGKILL; only where Postgres is this run's own." default:"3"`
	Keep          bool   `help:"Keep the run's folder where nothing was found, too."`
	In            string `help:"Folder in which the run's own folder is made. Default: the system's for temporary files." placeholder:"DIR" type:"existingdir"`
}

// Help is shown by chaos --help.
func (chaosCmd) Help() string {
	return `Starts an up of its own in a temporary folder, tells stories at the simulated vendors while processes die and freeze and vendors have bad days, and compares what every destination holds in the end with what it must hold. The last line is the verdict; exit 1 where it is not all zeros.

An event is a record in the log. A recovery is the time from a SIGKILL until another process owns every partition that the killed one owned (ingest, broker, registry, Postgres: until it answers). Processes restart under up; the pace of the story follows that of the faults.

Example: conveyance chaos --kills 20 --events 2000`
}

// Run makes one run of the fault lab and prints its verdict.
func (c *chaosCmd) Run(ctx context.Context, g *globals) error {
	if c.Kills < 0 || c.Zombies < 0 || c.PostgresKills < 0 || c.Events < 0 {
		return errUsage("counts are not negative")
	}
	if g.PostgresURL != "" {
		c.PostgresKills = 0
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this binary: %w", err)
	}
	dir, err := os.MkdirTemp(c.In, "conveyance-chaos-")
	if err != nil {
		return fmt.Errorf("making the run's folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // G302: Postgres's account must enter
		return err
	}
	cfg := chaos.Config{
		Exe: exe, Dir: filepath.Join(dir, "bus"), Kafka: g.Kafka, Registry: g.RegistryURL, Postgres: g.PostgresURL,
		// Nothing is deleted, so the broker and the vendors grow with the run.
		Env: []string{"GOMEMLIMIT=4GiB"},
	}
	if g.TopicPrefix != "" {
		cfg.Args = []string{"--topic-prefix", g.TopicPrefix}
	}
	bar := g.chaosBar(c)
	report, err := chaos.Run(ctx, cfg, chaos.Plan{
		Seed: c.Seed, Events: c.Events, Kills: c.Kills, Zombies: c.Zombies, PostgresKills: c.PostgresKills, Progress: bar.tell,
	})
	bar.wipe()
	if err != nil || !report.Clean() {
		return c.found(g, report, dir, err)
	}
	if !c.Keep {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing the run's folder: %w", err)
		}
	}
	return c.print(g, report)
}

// found tells a run that is not clean: how it is repeated, the first findings, and the verdict last. A
// run that came to no end has none.
func (c *chaosCmd) found(g *globals, r chaos.Report, dir string, err error) error {
	_, _ = fmt.Fprintf(g.errOut, "to repeat: conveyance chaos --seed %d --events %d --kills %d --zombies %d --postgres-kills %d\n%s",
		c.Seed, c.Events, c.Kills, c.Zombies, c.PostgresKills, chaos.Findings(r.Verdict))
	if err != nil { // its text alone: a Ctrl-C is no verdict either
		return fmt.Errorf("the run of seed %d came to no verdict; its folder is kept: %s: %s", c.Seed, dir, err.Error())
	}
	if err := c.print(g, r); err != nil {
		return err
	}
	return fmt.Errorf("the run of seed %d found something; its folder is kept: %s", c.Seed, dir)
}

// chaosVerdict is the last line, as --json prints it. Times are in milliseconds.
type chaosVerdict struct {
	Kind          string                 `json:"kind"`
	Clean         bool                   `json:"clean"`
	Found         map[string]int         `json:"found"`
	Seed          int64                  `json:"seed"`
	Events        int64                  `json:"events"`
	PerSecond     float64                `json:"events_per_second"`
	Kills         int                    `json:"kills"`
	Zombies       int                    `json:"zombies"`
	PostgresKills int                    `json:"postgres_kills"`
	Seconds       float64                `json:"seconds"`
	Recovery      map[string]chaosSpread `json:"recovery"`
	Classes       map[string]int         `json:"classes"`
}

type chaosSpread struct {
	N   int   `json:"n"`
	P50 int64 `json:"p50_ms"`
	P99 int64 `json:"p99_ms"`
	Max int64 `json:"max_ms"`
}

func (c *chaosCmd) print(g *globals, r chaos.Report) error {
	v := chaosVerdict{
		Kind: "verdict", Clean: r.Clean(), Found: map[string]int{}, Seed: r.Seed, Events: r.Events, PerSecond: r.Rate(),
		Kills: r.Struck.Kills, Zombies: r.Struck.Zombies, PostgresKills: r.Struck.PostgresKills, Seconds: r.Took.Seconds(),
		Recovery: map[string]chaosSpread{}, Classes: map[string]int{
			"a_twice": r.Classes.A, "c_twice": r.Classes.C, "c_flagged": r.Classes.Flagged, "d_twice": r.Classes.D, "d_asked": r.Classes.Asked,
		},
	}
	for _, f := range r.Verdict.Findings() {
		v.Found[f.Name] = len(f.All)
	}
	for sort, s := range r.Spreads() {
		v.Recovery[sort] = chaosSpread{s.N, s.P50.Milliseconds(), s.P99.Milliseconds(), s.Max.Milliseconds()}
	}
	return g.print(v, func(w io.Writer) { _, _ = fmt.Fprint(w, r.Lines(), r.String(), "\n") })
}

// chaosBar is one line on a terminal.
type chaosBar struct {
	out  io.Writer
	plan *chaosCmd
}

func (g *globals) chaosBar(c *chaosCmd) chaosBar {
	if !isTerminal(g.errOut) {
		return chaosBar{io.Discard, c}
	}
	return chaosBar{g.errOut, c}
}

func (b chaosBar) tell(r chaos.Report) {
	_, _ = fmt.Fprintf(b.out, "\r\x1b[Kevents %d of %d (%.0f/s) · kills %d of %d · zombies %d of %d · Postgres killed %d of %d",
		r.Events, b.plan.Events, r.Rate(), r.Struck.Kills, b.plan.Kills, r.Struck.Zombies, b.plan.Zombies,
		r.Struck.PostgresKills, b.plan.PostgresKills)
}

func (b chaosBar) wipe() { _, _ = fmt.Fprint(b.out, "\r\x1b[K") }
