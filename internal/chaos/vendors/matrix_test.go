package vendors_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos/vendors"
	"conveyance/internal/testkit"
)

var window = flag.Duration("window", 0, "how long a fault that stays is watched; 0 = as the pace says")

var long = flag.Bool("long", false, "real timeouts and clocks, and ten minutes of every fault that stays")

// sample lets fetch's clock run 10 times faster than ours and the vendors' 30 times, and calls end after
// 1.5 seconds.
func sample() pace {
	return pace{
		scale: 10, vendors: 30, timeout: 1500 * time.Millisecond, slow: "4", body: 1 << 20, lag: 500 * time.Millisecond,
		every: 4 * time.Second, window: 24 * time.Second, patient: 2 * time.Minute, first: 8,
		noise: []string{"retry no answer from vendor", "doubt no answer from vendor", "retry budget answered too late", "retry unmarked", "doubt unmarked"},
	}
}

// whole is everything as it is in production.
func whole() pace {
	return pace{
		scale: 1, vendors: 1, timeout: 10 * time.Second, slow: "30", lag: 5 * time.Second,
		every: 5 * time.Second, window: 10 * time.Minute, patient: 20 * time.Minute,
	}
}

func TestMatrix(t *testing.T) {
	testkit.Lane(t)
	cells, err := vendors.Cells()
	require.NoError(t, err)
	p := sample()
	if *long {
		p = whole()
	}
	if *window > 0 {
		p.window = *window
	}
	if only := os.Getenv("MATRIX_ONLY"); only != "" {
		cells = slices.DeleteFunc(cells, func(c vendors.Cell) bool { return !strings.Contains(c.Name(), only) })
	}
	byName := map[string]trouble{}
	for _, f := range troubles(p.slow) {
		byName[f.name] = f
	}
	w := open(t, cells, p.vendors)
	b := build(t, w, p)
	all := make([]*cell, len(cells))
	for i, c := range cells {
		f, known := byName[c.Fault]
		require.True(t, known, c.Fault)
		all[i] = &cell{Cell: c, trouble: f}
		if c.When == vendors.First {
			require.NoError(t, b.strike(c, f))
		}
	}
	b.run()
	results := make([]came, len(all))
	var work sync.WaitGroup
	for i, c := range all {
		work.Go(func() { results[i] = b.cell(t.Context(), c) })
	}
	work.Wait()
	judge(t, all, results, p)
}

// judge holds each cell against the table.
func judge(t *testing.T, all []*cell, results []came, p pace) {
	t.Helper()
	usual := map[string]int{} // calls of a vendor without a fault, while as much happens
	retried, breaches, worst := 0, 0, 0.0
	for i, c := range all {
		if c.fault == "" && c.When == vendors.Forever {
			usual[c.Vendor] = results[i].calls
		}
	}
	for i, c := range all {
		r := results[i]
		t.Run(c.Name(), func(t *testing.T) {
			t.Logf("%s after %q, waits %q, %d calls", r.ends, r.after, slices.Compact(r.why), r.calls)
			require.NoError(t, r.err)
			require.NotEmpty(t, r.ends)
			require.Subset(t, c.Ends, r.ends)
			require.Subset(t, append(slices.Clone(c.After), p.noise...), r.after)
			if c.Sure {
				require.Contains(t, r.after, c.After[0])
			}
			require.Empty(t, r.over, "requests that the vendor holds against the account")
		})
		breaches += len(r.over)
		if c.When != vendors.Forever || c.hook || c.name == "newer body" || usual[c.Vendor] == 0 {
			continue // what comes more often is no retry
		}
		retried++
		extra := float64(r.calls)/float64(usual[c.Vendor]) - 1
		worst = max(worst, extra)
		t.Run("retries of "+c.Name(), func(t *testing.T) {
			require.LessOrEqual(t, float64(r.calls), float64(usual[c.Vendor])*(1+retriesMax)+p.first, "calls, usual is %d", usual[c.Vendor])
		})
	}
	t.Logf("cells=%d breaches=%d retries_worst=%+.1f%% of %d faults that stay, calls without a fault=%v, window=%s",
		len(all), breaches, 100*worst, retried, usual, p.window)
}

// retriesMax is the part by which retries may add to a vendor's calls.
const retriesMax = 0.10
