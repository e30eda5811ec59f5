package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/judge"
)

// twice are findings of the judge's, of each class.
const (
	twiceA = "warehouse has an effect of event 1 twice"
	twiceC = "CRM of lakeshore has 2 deals with reference r"
	twiceD = "CRM person p of lakeshore has 2 notes of signatures, not 1"
)

func TestZombiesMayDoClassCTwiceInOneOfTenRoundsWhereItIsFlagged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		twice    []string
		zombies  int
		flagged  int
		excused  bool
		expected Classes
	}{
		"one in ten, flagged":     {[]string{twiceC}, 10, 1, true, Classes{C: 1, Flagged: 1}},
		"one in nine":             {[]string{twiceC}, 9, 1, false, Classes{C: 1, Flagged: 1}},
		"not flagged":             {[]string{twiceC}, 200, 0, false, Classes{C: 1}},
		"no zombie":               {[]string{twiceC}, 0, 1, false, Classes{C: 1, Flagged: 1}},
		"a row of our own":        {[]string{twiceA}, 200, 1, false, Classes{A: 1, Flagged: 1}},
		"sent again blind":        {[]string{twiceD}, 200, 1, false, Classes{D: 1, Flagged: 1}},
		"excused beside a defect": {[]string{twiceC, twiceD}, 200, 1, false, Classes{C: 1, D: 1, Flagged: 1}},
		"nothing":                 {nil, 200, 0, true, Classes{}},
	} {
		r := newReport(Plan{})
		r.Struck.Zombies, r.Classes.Flagged = c.zombies, c.flagged
		r.verdict(judge.Verdict{Duplicated: c.twice})
		require.Equal(t, c.excused, r.Clean(), name)
		require.Equal(t, c.expected, r.Classes, name)
	}
}

func TestWhatDidNotRecoverIsAFinding(t *testing.T) {
	t.Parallel()
	r := newReport(Plan{})
	r.more = []string{"fetch did not recover within 1m30s"}
	r.verdict(judge.Verdict{})
	require.False(t, r.Clean())
	require.Contains(t, r.String(), "unexplained=1 ")
}

func TestRecoveryTimesAreToldBySort(t *testing.T) {
	t.Parallel()
	r := newReport(Plan{})
	for n := range 100 {
		r.recovery("adapter warehouse", time.Duration(n+1)*time.Millisecond)
	}
	r.recovery(Postmaster, time.Second)
	require.Equal(t, map[string]Spread{
		"owner":    {N: 100, P50: 51 * time.Millisecond, P99: 100 * time.Millisecond, Max: 100 * time.Millisecond},
		"postgres": {N: 1, P50: time.Second, P99: time.Second, Max: time.Second},
	}, r.Spreads())
}

func TestPaceSpreadsTheEventsOverTheFaults(t *testing.T) {
	t.Parallel()
	r := &run{plan: Plan{Events: 10_000, Kills: 100}, report: newReport(Plan{})}
	require.InDelta(t, 10_000/recordsPerStep/70, r.pace(0), 1)
	r.steps, r.report.Struck.Kills = 500, 50
	require.InDelta(t, 5_000/10.0/35, r.pace(5_000), 1, "ten records a step were seen")
	r.report.Struck.Kills = 100
	require.EqualValues(t, paceMax, r.pace(1_000), "no fault is to come: as fast as the vendors go")
	require.EqualValues(t, paceMin, r.pace(10_000), "only faults are to come")
}
