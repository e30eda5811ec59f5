// Package bench measures the stages against bare loops that do the same essential work without any
// of the guarantees: ours and the ceiling in one run, on the embedded broker and a real Postgres on
// disk. A ratio survives a change of machine; a rate does not. README.md here tells what each
// ceiling does and does not do.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Result is one benchmark's outcome.
type Result struct {
	Name    string  `json:"name"`
	Ours    float64 `json:"ours"`
	Ceiling float64 `json:"ceiling"`
	Ratio   float64 `json:"ratio"` // more is better, whatever the unit
	Unit    string  `json:"unit"`
	// The processor's microseconds per record of this process, embedded broker included and Postgres
	// not; 0 where it is not measured.
	OursCPU    float64 `json:"ours_cpu_us"`
	CeilingCPU float64 `json:"ceiling_cpu_us"`
	// The median and the 99th percentile, in milliseconds, of an answer where somebody waits for one; of
	// end-to-end from a delivery to its row.
	OursP50    float64 `json:"ours_p50_ms,omitempty"`
	OursP99    float64 `json:"ours_p99_ms,omitempty"`
	CeilingP99 float64 `json:"ceiling_p99_ms,omitempty"`
}

func (r Result) String() string {
	var line strings.Builder
	_, _ = fmt.Fprintf(&line, "bench %s ours=%.0f ceiling=%.0f ratio=%.2f unit=%s", r.Name, r.Ours, r.Ceiling, r.Ratio, r.Unit)
	for _, p := range []struct {
		name string
		ms   float64
	}{{"ours_p50_ms", r.OursP50}, {"ours_p99_ms", r.OursP99}, {"ceiling_p99_ms", r.CeilingP99}} {
		if p.ms > 0 {
			_, _ = fmt.Fprintf(&line, " %s=%.1f", p.name, p.ms)
		}
	}
	return line.String()
}

// Names are the benchmarks, in the order in which they run.
func Names() []string {
	var names []string
	for _, b := range all() {
		names = append(names, b.name)
	}
	return names
}

type benchmark struct {
	name, unit string
	less       bool // is better
	embedded   bool // of the embedded broker alone
	run        func(ctx context.Context, l *lab) (ours, ceiling sample, err error)
}

func all() []benchmark {
	return []benchmark{
		{"ingest", "webhooks/s", false, false, ingestBench},
		{"ingest-fsync", "webhooks/s", false, true, ingestFsync},
		{"end-to-end", "rows/s", false, false, endToEnd},
		{"scan", "records/s", false, false, scan},
		{"translate", "records/s", false, false, translateBench},
		{"project", "events/s", false, false, project},
		{"effects-0ms", "effects/s", false, false, effects0},
		{"effects-100ms", "effects/s", false, false, effects100},
		{"restart", "ms", true, false, restart},
	}
}

// limitDefault is what a benchmark may take: some ten times what it takes on a machine that has
// nothing else to do.
const limitDefault = 5 * time.Minute

// Options of a run.
type Options struct {
	Names   []string      // empty = all
	Kafka   string        // a broker of a real cluster that holds nothing else; empty = an embedded one for each benchmark
	Records int           // per benchmark
	Rounds  int           // each side is run so often, in turn; the round of the median ratio counts
	Seconds int           // for which end-to-end offers its load, once; 0 = secondsDefault
	Limit   time.Duration // for one benchmark; 0 = limitDefault
	Dir     string        // scratch; a folder in the system's temporary folder where empty
	Report  func(Result) error
	Notes   io.Writer // what goes on, where it takes longer than a second; nil = silent
}

// Run runs the benchmarks. It takes some seconds for each, and ends with ctx or where one takes
// longer than its limit.
func Run(ctx context.Context, o Options) error {
	for _, n := range o.Names {
		if !slices.Contains(Names(), n) {
			return fmt.Errorf("no benchmark is called %s: there are %v", n, Names())
		}
	}
	if o.Seconds == 0 {
		o.Seconds = secondsDefault
	}
	if o.Limit == 0 {
		o.Limit = limitDefault + time.Duration(o.Seconds)*time.Second
	}
	if o.Notes == nil {
		o.Notes = io.Discard
	}
	for _, b := range all() {
		if len(o.Names) > 0 && !slices.Contains(o.Names, b.name) || o.Kafka != "" && b.embedded {
			continue
		}
		r, err := measure(ctx, o, b)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", b.name, err)
		}
		if err := o.Report(r); err != nil {
			return err
		}
	}
	return nil
}

// measure gives each benchmark a broker and a Postgres of its own, so that none pays for another's
// data.
func measure(ctx context.Context, o Options, b benchmark) (r Result, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Limit, fmt.Errorf("it is not done within its limit of %s", o.Limit))
	defer cancel()
	l, err := open(ctx, o, b)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	stop := l.tell(ctx)
	ours, ceiling, err := b.run(ctx, l)
	at := stop()
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (at %s)", context.Cause(ctx), at)
		}
		return r, err
	}
	r = Result{
		Name: b.name, Ours: ours.value, Ceiling: ceiling.value, Ratio: ours.value / ceiling.value, Unit: b.unit,
		OursCPU: ours.cpu, CeilingCPU: ceiling.cpu,
		OursP50: ours.p50, OursP99: ours.p99, CeilingP99: ceiling.p99,
	}
	if b.less {
		r.Ratio = ceiling.value / ours.value
	}
	return r, nil
}
