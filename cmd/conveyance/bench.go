//go:build !image

package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"conveyance/internal/bench"
)

type benchCmd struct {
	Names   []string `arg:"" optional:"" help:"Which; default: all."`
	Records int      `help:"Records per benchmark." default:"100000"`
	Rounds  int      `help:"Rounds of each side, in turn; that of the median ratio counts." default:"5"`
	Seconds int      `help:"How long end-to-end offers its webhooks, once." default:"30"`
}

// Help is shown by bench --help.
func (benchCmd) Help() string {
	return "Benchmarks: " + strings.Join(bench.Names(), ", ") + ".\n\nExample: conveyance bench translate\n\n" +
		"With --kafka they run on a real cluster that must hold no topic of theirs: they make them, and delete them."
}

// Run measures.
func (c *benchCmd) Run(ctx context.Context, g *globals) error {
	return bench.Run(ctx, bench.Options{
		Names: c.Names, Kafka: firstOf(g.Kafka), Records: c.Records, Rounds: c.Rounds, Seconds: c.Seconds, Notes: g.errOut,
		Report: func(r bench.Result) error {
			return g.print(r, func(w io.Writer) { _, _ = fmt.Fprintln(w, r) })
		},
	})
}

// firstOf is the first of a list of addresses; it tells the others.
func firstOf(addresses string) string {
	one, _, _ := strings.Cut(addresses, ",")
	return one
}
