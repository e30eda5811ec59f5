package outages

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/realparts/proxy"
)

const (
	// perRound is how many cuts there are at a time, two on each cable, and so how many are judged together.
	perRound = 8
	// dealsPerRound live while the cables are cut.
	dealsPerRound = 4
	cutMin        = time.Second
	cutUsual      = 8 * time.Second
	// longEvery is which rounds have cuts of up to cutMax.
	longEvery = 10
)

// longest is what a cut lasts at most, a minute unless CONVEYANCE_CUT_MAX says less.
func longest(t *testing.T) time.Duration {
	t.Helper()
	if text := os.Getenv("CONVEYANCE_CUT_MAX"); text != "" {
		d, err := time.ParseDuration(text)
		require.NoError(t, err)
		return d
	}
	return time.Minute
}

func TestCutsLoseNothingAndTheBusDrainsWithinAMinuteOfHealing(t *testing.T) {
	n := times(t, "CONVEYANCE_CUTS")
	cutMax := longest(t)
	r := seeded(t)
	b, cables := startCabled(t)
	stop := b.Watch(t.Context())
	var drains []time.Duration
	counts := map[string]int{}
	for done, round := 0, 0; done < n; round++ {
		to := min(cutUsual, cutMax)
		if round%longEvery == longEvery-1 {
			to = cutMax
		}
		cuts := draw(r, cables, min(perRound, n-done), to)
		require.NoError(t, b.Story(t.Context(), int64(3000+round), dealsPerRound, 12))
		healed := strike(t, b, r, cuts)
		told(t, b)
		began := time.Now()
		v := settled(t, b)
		drain := time.Since(later(began, healed))
		for _, c := range cuts {
			counts[c.cable.name+" "+c.Kind.String()]++
			t.Logf("round %d: %s", round+1, c)
		}
		t.Logf("round %d: at rest %d ms after healing; %s", round+1, drain.Milliseconds(), v)
		drains, done = append(drains, drain), done+len(cuts)
	}
	require.Empty(t, stop(), "no offset falls")
	slices.Sort(drains)
	t.Logf("cuts %d %v: lost=0 duplicated=0 misordered=0 unexplained=0; at rest after healing p50 %d ms, max %d ms",
		n, counts, drains[len(drains)/2].Milliseconds(), drains[len(drains)-1].Milliseconds())
	require.Less(t, drains[len(drains)-1], drainWithin)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// draw makes n cuts, on the cables in turn: of one process or all, reset, silent or forgotten, both ways
// or one, most of them short.
func draw(r *rand.Rand, cables []cable, n int, to time.Duration) []cut {
	var cuts []cut
	for i := range n {
		c := cut{cable: cables[i%len(cables)]}
		if r.IntN(3) > 0 {
			c.stage = c.cable.users[r.IntN(len(c.cable.users))]
		}
		c.Kind = []proxy.Kind{proxy.Reset, proxy.Silence, proxy.Silence, proxy.Forget}[r.IntN(4)]
		c.Way = []proxy.Way{proxy.Both, proxy.Both, proxy.ToServer, proxy.ToClient}[r.IntN(4)]
		c.long = time.Duration(float64(cutMin) * math.Pow(float64(to)/float64(cutMin), r.Float64()))
		cuts = append(cuts, c)
	}
	return cuts
}

// strike cuts, each at its own time and for as long as it was drawn, and returns when all are mended.
func strike(t *testing.T, b *chaos.Bus, r *rand.Rand, cuts []cut) time.Time {
	t.Helper()
	var wg sync.WaitGroup
	for _, c := range cuts {
		after := between(r, 0, time.Second)
		if c.stage != "" {
			c.Whose = proxy.Of(func() int { return b.Children()[c.stage] })
		}
		wg.Go(func() {
			chaos.Pause(t.Context(), after)
			mend := c.cable.Cut(c.Cut)
			chaos.Pause(t.Context(), c.long)
			mend()
		})
	}
	wg.Wait()
	return time.Now()
}
