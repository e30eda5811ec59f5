package crashpoints

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/fault"
	"conveyance/internal/testkit"
)

// number reads what CI or a person asks for.
func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv("CONVEYANCE_CRASH_" + name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// reachedLeast is below what a full lane tried nothing at a point.
const reachedLeast = 20

// TestFaultAtEveryNamedPointLosesAndRepeatsNothing plays a few runs. CONVEYANCE_CRASH_RUNS=100 is the
// sample of CI, in which every point appears; CONVEYANCE_CRASH_SEEDS=20 is all of it.
func TestFaultAtEveryNamedPointLosesAndRepeatsNothing(t *testing.T) {
	testkit.Lane(t)
	seeds, seed := number(t, "SEEDS", 0), number(t, "SEED", 1)
	runs, least := Sample(number(t, "RUNS", 12), seed), 0
	if len(runs) >= len(spots()) {
		least = 1
	}
	if seeds > 0 {
		runs, least = All(seeds), min(reachedLeast, seeds)
	}
	if one := os.Getenv("CONVEYANCE_CRASH_ONLY"); one != "" {
		runs = slices.DeleteFunc(All(reachedLeast), func(r Run) bool { return r.ID != one && r.Point != one })
		least = 0
	}
	exe := filepath.Join(t.TempDir(), "conveyance")
	out, err := exec.Command("go", "build", "-tags", "faults", "-o", exe, "conveyance/cmd/conveyance").CombinedOutput()
	require.NoError(t, err, "%s", out)
	lanes := number(t, "LANES", 1)
	var mu sync.Mutex
	var all []Outcome
	var work sync.WaitGroup
	for n := range lanes {
		work.Go(func() {
			mine := []Run{}
			for i, r := range runs {
				if i%lanes == n {
					mine = append(mine, r)
				}
			}
			out := play(t, exe, seed+n, mine)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, out...)
		})
	}
	work.Wait()
	t.Logf("\n%s", Table(all))
	require.Len(t, all, len(runs), "runs that were not made")
	require.Empty(t, Void(all, least), "reached too seldom: the lane is void")
}

// runsPerBus are played on one up; what it has told grows, and with it what the judge looks at.
const runsPerBus = 300

// play plays all runs. Where something is found, the rest is played on another up.
func play(t *testing.T, exe string, seed int, runs []Run) (all []Outcome) {
	for len(runs) > 0 {
		dir := t.TempDir()
		bus, err := chaos.Start(t.Context(), chaos.Config{
			Exe: exe, Dir: filepath.Join(dir, "bus"), Postgres: testkit.Database(t), Env: Env(dir),
		})
		if !note(t, err) {
			return all
		}
		lane := &Lane{Bus: bus, Dir: dir, Seed: seed, Log: t.Logf}
		out, err := lane.Play(t.Context(), runs[:min(len(runs), runsPerBus)])
		all = append(all, out...)
		made := map[string]bool{}
		for _, o := range out {
			made[o.ID] = true
			if o.Found != "" {
				err = errors.Join(err, fmt.Errorf("playing %s: %s", o.ID, o.Found))
			}
		}
		runs = slices.DeleteFunc(runs, func(r Run) bool { return made[r.ID] })
		if err != nil {
			t.Log(bus.Logs())
		}
		bus.Stop(syscall.SIGTERM)
		note(t, err)
		if len(out) == 0 {
			return all
		}
	}
	return all
}

func note(t *testing.T, err error) bool {
	if err != nil {
		t.Errorf("%v", err)
	}
	return err == nil
}

func TestEveryPointIsTriedAndTheSampleHoldsThemAll(t *testing.T) {
	t.Parallel()
	var names []string
	for _, s := range spots() {
		names = append(names, s.point)
	}
	require.ElementsMatch(t, fault.Points(), names)
	require.GreaterOrEqual(t, len(names), 24)
	require.Len(t, All(20), len(names)*4*20)
	points, faults := map[string]bool{}, map[string]int{}
	for _, r := range Sample(100, 1) {
		points[r.Point] = true
		faults[r.Fault]++
	}
	require.Len(t, points, len(names))
	for _, f := range Faults() {
		require.GreaterOrEqual(t, faults[f], 20, f)
	}
	met := map[string]bool{}
	for seed := range 4 {
		for _, r := range Sample(len(names), seed) {
			met[r.Point+r.Fault] = true
		}
	}
	require.Len(t, met, len(names)*4, "four samples hold every point under every fault")
}

func TestRoundHoldsOneRunOfAProcess(t *testing.T) {
	t.Parallel()
	runs := All(3)
	n := 0
	for _, round := range rounds(runs) {
		seen := map[string]bool{}
		for _, r := range round {
			require.False(t, seen[r.Process])
			seen[r.Process] = true
			n++
		}
	}
	require.Equal(t, len(runs), n)
}
