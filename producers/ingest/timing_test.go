package ingest

import (
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// moments are the mean and the variance of times in microseconds.
type moments struct{ n, mean, m2 float64 }

// momentsOf leaves out what took longer than a limit: the machine's own pauses would hide the rest.
func momentsOf(took []time.Duration, limit time.Duration) (m moments) {
	for _, d := range took {
		if d > limit {
			continue
		}
		x := float64(d.Nanoseconds()) / 1000
		m.n++
		delta := x - m.mean
		m.mean += delta / m.n
		m.m2 += delta * (x - m.mean)
	}
	return m
}

// welch is the t of two means.
func welch(a, b moments) float64 {
	return (a.mean - b.mean) / math.Sqrt(a.m2/(a.n-1)/a.n+b.m2/(b.n-1)/b.n)
}

// TestRefusalsTakeTheSameTime measures the four refusals over the wire, 25,000 of each, each sender
// sending them in turn.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	if os.Getenv(envLong) == "" {
		t.Skip("set " + envLong + " to measure for a minute or two, on a machine that does nothing else")
	}
	const senders, each = 20, 5000
	h := build(t, twoBrokerages(), func(c *Config, _ *Deps) { c.RejectAfter = rejectAfterDefault })
	s := h.open(t)
	cl := client(t, senders)
	names := []string{"unknown token", "wrong key", "unsigned", "another account"}
	tokens := []string{"nobody-has-this-one-token", tokenLakeshore, tokenLakeshore, tokenLakeshore}
	keys := []string{keyLakeshore, keyRedrock, "", keyLakeshore}
	bodies := []string{bodyOf("d-1", "A-1"), bodyOf("d-1", "A-1"), bodyOf("d-1", "A-1"), bodyOf("d-1", "A-2")}
	var mu sync.Mutex
	var took [4][]time.Duration
	var all sync.WaitGroup
	for n := range senders {
		all.Go(func() {
			for i := range each {
				kind := (n + i) % len(names)
				r := sent(t, s.Addr(), tokens[kind], keys[kind], bodies[kind])
				began := time.Now()
				resp, err := cl.Do(r)
				d := time.Since(began)
				if err != nil || resp.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s: %v", names[kind], err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				mu.Lock()
				took[kind] = append(took[kind], d)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	every := slices.Sorted(slices.Values(slices.Concat(took[:]...)))
	for _, part := range []int{100, 95, 50} {
		limit := every[len(every)*part/100-1]
		var m [4]moments
		for i := range took {
			m[i] = momentsOf(took[i], limit)
			t.Logf("fastest %d %%: %-16s n=%.0f mean=%.1f µs sd=%.1f µs", part, names[i], m[i].n, m[i].mean, math.Sqrt(m[i].m2/(m[i].n-1)))
		}
		for i := range m {
			for j := range i {
				v := welch(m[i], m[j])
				t.Logf("fastest %d %%: t(%s, %s) = %.2f", part, names[i], names[j], v)
				require.Less(t, math.Abs(v), 4.5)
			}
		}
	}
}
