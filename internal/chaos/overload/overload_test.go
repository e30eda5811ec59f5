package overload

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/testkit"
)

const (
	// peak is a national franchise's, in deliveries a second; the lane sends ten times as many.
	peak = 130
	// memoryMax of a process, in MiB.
	memoryMax = 512
	// steadyWithin is how soon after the load a delivery takes its usual time again.
	steadyWithin = time.Minute
	usual        = time.Second
)

func TestTenTimesTheLoadCostsNeitherMemoryNorADeliveryThatWasAccepted(t *testing.T) {
	testkit.Lane(t)
	long := setting(t, "CONVEYANCE_OVERLOAD", 10*time.Second, time.ParseDuration)
	rate := setting(t, "CONVEYANCE_OVERLOAD_RATE", peak, strconv.Atoi)
	lane := long >= time.Minute
	if lane {
		rate = setting(t, "CONVEYANCE_OVERLOAD_RATE", 10*peak, strconv.Atoi)
	}
	b := start(t)
	began := time.Now()
	var all []answered
	var keys []string
	unsent := 0
	var both sync.WaitGroup
	var mu sync.Mutex
	for i, tenant := range []string{loud, quiet} {
		d := doorOf(b, tenant, i+1)
		both.Go(func() {
			answers, skipped := d.flood(t.Context(), rate/2, long)
			mu.Lock()
			defer mu.Unlock()
			all, unsent = append(all, answers...), unsent+skipped
			for _, a := range accepted(answers) {
				keys = append(keys, key(tenant, d, a.i))
			}
		})
	}
	both.Wait()
	ended := time.Now()
	byStatus, took := map[int]int{}, []time.Duration(nil)
	for _, a := range all {
		byStatus[a.status]++
		took = append(took, a.took)
	}
	steady := settle(t, b, ended)
	for until := time.Now().Add(patience); ; chaos.Pause(t.Context(), time.Second) {
		n, err := known(t.Context(), b.Pool, keys)
		require.NoError(t, err)
		if n == len(keys) {
			break
		}
		require.True(t, time.Now().Before(until), "%d of %d accepted deliveries are not on the bus", len(keys)-n, len(keys))
	}
	memory := peaks(t, b)
	t.Logf("overload rate=%d/s for=%s sent=%d unsent=%d by_status=%v accepted/s=%.0f answer_p99=%s steady_after=%s memory_mib=%v lost=0",
		rate, ended.Sub(began).Round(time.Second), len(all), unsent, byStatus, float64(len(keys))/ended.Sub(began).Seconds(),
		quantile(took, 0.99).Round(time.Millisecond), steady.Round(time.Second), memory)
	require.Equal(t, len(all), byStatus[http.StatusOK]+byStatus[http.StatusServiceUnavailable], "answers are 2xx and 503")
	for name, mib := range memory {
		if name != "broker" && name != chaos.Postmaster { // a real broker's and Postgres's are their own business
			require.LessOrEqual(t, mib, memoryMax, name)
		}
	}
	if lane {
		require.LessOrEqual(t, steady, steadyWithin)
	}
}

// settle delivers one envelope after the other until one is translated in the usual time, and returns how
// long after ended that was.
func settle(t *testing.T, b *chaos.Bus, ended time.Time) time.Duration {
	t.Helper()
	d, client := doorOf(b, quiet, 9), &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	for i := 0; ; i++ {
		require.Less(t, time.Since(ended), patience, "it does not become steady")
		a := d.deliver(t.Context(), client, i)
		if a.status != http.StatusOK {
			chaos.Pause(t.Context(), usual)
			continue
		}
		for time.Since(a.at) < patience {
			found, err := told(t.Context(), b.Pool, []string{key(quiet, d, i)})
			require.NoError(t, err)
			if len(found) == 1 {
				break
			}
			chaos.Pause(t.Context(), 20*time.Millisecond)
		}
		if time.Since(a.at) < usual {
			return time.Since(ended)
		}
	}
}
