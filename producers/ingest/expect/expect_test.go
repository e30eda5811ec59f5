package expect_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/producers/ingest/expect"
)

// monday is a beginning of a week, in UTC.
var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// office is when a brokerage works: weekdays from 9 to 17.
func office(at time.Time) bool {
	return at.Weekday() != time.Saturday && at.Weekday() != time.Sunday && at.Hour() >= 9 && at.Hour() < 17
}

// weeks are n whole weeks in which clumps of size come, rate of them in each working hour.
func weeks(r *rand.Rand, zone *time.Location, n int, rate float64, size int64) []expect.Hour {
	var hours []expect.Hour
	for at := monday; at.Before(monday.AddDate(0, 0, 7*n)); at = at.Add(time.Hour) {
		h := expect.Hour{Start: at, Open: 1}
		if office(at.In(zone)) {
			h.Came = poisson(r, rate) * size
		}
		hours = append(hours, h)
	}
	return hours
}

func poisson(r *rand.Rand, mean float64) (n int64) {
	for t := r.ExpFloat64() / mean; t < 1; t += r.ExpFloat64() / mean {
		n++
	}
	return n
}

// gap is nothing from an hour after the history on.
func gap(n, from, hours int) []expect.Hour {
	var all []expect.Hour
	begin := monday.AddDate(0, 0, 7*n).Add(time.Duration(from) * time.Hour)
	for i := range hours {
		all = append(all, expect.Hour{Start: begin.Add(time.Duration(i) * time.Hour), Open: 1})
	}
	return all
}

func chicago(t require.TestingT) *time.Location {
	zone, err := time.LoadLocation("America/Chicago")
	require.NoError(t, err)
	return zone
}

func TestNightAndWeekendAreNoSilence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		n := rapid.IntRange(2, 8).Draw(t, "weeks")
		m := expect.Learn(time.UTC, weeks(r, time.UTC, n, rapid.Float64Range(5, 200).Draw(t, "rate"), 1))
		require.True(t, m.Dares())
		// From Friday 17:00 to Monday 9:00, and a night more.
		require.InDelta(t, 1, m.Nothing(gap(n, 4*24+17, 64)), 1e-9)
		require.False(t, m.Silent(gap(n, 4*24+17, 64)))
		require.False(t, m.Silent(gap(n, 17, 16)))
	})
}

func TestAStopInWorkingHoursIsSilenceOnTheSameDay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		n := rapid.IntRange(2, 8).Draw(t, "weeks")
		size := rapid.Int64Range(1, 6).Draw(t, "size")
		m := expect.Learn(time.UTC, weeks(r, time.UTC, n, 20, size))
		require.True(t, m.Silent(gap(n, 24+10, 3)), "from Tuesday 10:00 to 13:00: %v", m.Nothing(gap(n, 24+10, 3)))
	})
}

func TestOneBusyHourAWeekIsNotMissedForAFewHours(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	var hours []expect.Hour // thirty at once, at some working hour of each day
	for day := range 28 {
		at := r.IntN(8) + 9
		for h := range 24 {
			one := expect.Hour{Start: monday.AddDate(0, 0, day).Add(time.Duration(h) * time.Hour), Open: 1}
			if h == at && day%7 < 5 {
				one.Came = 30
			}
			hours = append(hours, one)
		}
	}
	m := expect.Learn(time.UTC, hours)
	require.True(t, m.Dares())
	require.False(t, m.Silent(gap(4, 9, 8)), "a working day without its clump, of %v deliveries that were due", m.Due(gap(4, 9, 8)))
}

func TestShortHistoryDaresNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		hours := weeks(r, time.UTC, 2, 100, 1)
		n := rapid.IntRange(0, len(hours)-1).Draw(t, "hours")
		require.False(t, expect.Learn(time.UTC, hours[:n]).Silent(gap(2, 9, 200)))
	})
	require.False(t, expect.Model{}.Silent(gap(2, 9, 1000)))
}

func TestLongerGapIsNeverMoreLikely(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		m := expect.Learn(chicago(t), weeks(r, chicago(t), rapid.IntRange(2, 5).Draw(t, "weeks"),
			rapid.Float64Range(0.1, 50).Draw(t, "rate"), rapid.Int64Range(1, 9).Draw(t, "size")))
		before := 1.0
		for n := range 100 {
			now := m.Nothing(gap(5, 0, n))
			require.LessOrEqual(t, now, before)
			require.GreaterOrEqual(t, now, 0.0)
			before = now
		}
	})
}

func TestWhatNobodyHeardIsNoSilence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		m := expect.Learn(time.UTC, weeks(r, time.UTC, 3, 50, 1))
		deaf := gap(3, 9, rapid.IntRange(1, 8).Draw(t, "hours"))
		for i := range deaf {
			deaf[i].Open = 0
		}
		require.InDelta(t, 1, m.Nothing(deaf), 0)
		require.False(t, m.Silent(deaf))
	})
}

func TestHoursAreThoseOfTheTenantsOwnZoneOverAChangeOfClocks(t *testing.T) {
	t.Parallel()
	zone := chicago(t) // 8 March 2026 is the day on which its clocks change
	r := rand.New(rand.NewPCG(3, 3))
	m := expect.Learn(zone, weeks(r, zone, 4, 40, 1))
	require.InDelta(t, 1, m.Nothing(gap(4, 0, 14)), 1e-9, "until 14:00 UTC, which is 9:00 in Chicago, nobody works")
	require.True(t, m.Silent(gap(4, 14, 2)))
}

func TestFalseAlarmsOfAYearAreFew(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		rate float64
		size int64
	}{{1, 1}, {5, 1}, {5, 6}, {60, 1}} {
		r := rand.New(rand.NewPCG(11, uint64(kind.size)))
		const learned, lived = 8, 52
		all := weeks(r, time.UTC, learned+lived, kind.rate, kind.size)
		alarms, since := 0, learned*168
		silent := false
		var m expect.Model
		for i := learned * 168; i < len(all); i++ {
			if i%24 == 0 && since == i {
				m = expect.Learn(time.UTC, all[i-learned*168:i])
			}
			if i == learned*168 {
				m = expect.Learn(time.UTC, all[:i])
			}
			now := m.Silent(all[since:i])
			if now && !silent {
				alarms++
			}
			silent = now
			if all[i].Came > 0 {
				since, silent = i+1, false
			}
		}
		require.LessOrEqual(t, alarms, 2, "%v clumps of %d an hour", kind.rate, kind.size)
	}
}
