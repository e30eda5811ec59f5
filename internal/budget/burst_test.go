package budget

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/verdict"
)

// A vendor with two windows sees more than neither of them, however the calls come.
func TestBothWindowsOfAVendorHold(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	hourly, burst := Quota{Calls: 100, Window: time.Hour}, Quota{Calls: 20, Window: 30 * time.Second}
	processes := make([]*Shared, 2)
	for i := range processes {
		processes[i] = w.process(pool, schema, hourly, 0)
		processes[i].cfg.Quotas["followupboss/"+Burst] = burst
	}
	var arrivals []time.Time
	waited := 0
	for i := range 1000 {
		p := processes[i%2]
		err := p.Take(t.Context(), account("main"), LaneLive)
		if err == nil {
			arrivals = append(arrivals, w.at)
			continue
		}
		v := verdict.Of(err)
		require.Equal(t, verdict.Hold, v.Kind, err)
		require.True(t, v.Until.After(w.at))
		waited++
		if v.Until.Sub(w.at) > time.Minute {
			break // the hour is used up
		}
		w.at = v.Until
	}
	require.Equal(t, burst.usable(), most(arrivals, burst.Window))
	require.Greater(t, len(arrivals), hourly.usable()*6/10, "what waits for the short window loses no more than its leases of the long one")
	require.LessOrEqual(t, most(arrivals, hourly.Window), hourly.usable())
	require.GreaterOrEqual(t, waited, 4)
}

func TestBurstIsObeyedFromTheAnswerThatToldOfIt(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	s := w.process(pool, schema, Quota{Calls: 3000, Window: time.Hour}, 0)
	answer := func(remaining int) {
		s.Learn(t.Context(), account("main"), 200, http.Header{
			"X-Ratelimit-Limit": {"3000"}, "X-Ratelimit-Remaining": {"2999"},
			"X-Burstlimit-Limit": {"50"}, "X-Burstlimit-Remaining": {strconv.Itoa(remaining)},
		})
	}
	answer(49)
	n, until := drain(t, s, LaneLive)
	require.Equal(t, 45, n)
	require.WithinDuration(t, w.at.Add(30*time.Second), until, 10*time.Second)
	w.at = w.at.Add(time.Minute)
	answer(0)
	err := s.Take(t.Context(), account("main"), LaneLive)
	require.Equal(t, w.at.Add(spentFor), verdict.Of(err).Until)
	require.NoError(t, s.In("people.put").Take(t.Context(), account("main"), LaneLive), "a bucket has nothing to do with it")
}
