package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/chaos"
)

const (
	// awaySeconds is how long Kafka does not answer among other scenes, and awayLong by itself.
	awaySeconds = 10
	awayLong    = 600
	awayEvery   = 5 * time.Millisecond // 200 a second
	// backFor is how long webhooks come after Kafka is back.
	backFor = 5 * time.Second
	// doorKiBMost is what the door may hold: 16 MiB in flight, 16 MiB of larger bodies, what the collector
	// lets grow beside it, and 40 MiB of the program.
	doorKiBMost = 128 << 10
)

// TestTenMinutesWithoutKafka is kafkaAway for ten minutes, or for CONVEYANCE_E2E_AWAY seconds.
func TestTenMinutesWithoutKafka(t *testing.T) {
	if os.Getenv("CONVEYANCE_TEST_LONG") == "" {
		t.Skip("set CONVEYANCE_TEST_LONG to go without Kafka for ten minutes")
	}
	without(t.Context(), start(t), time.Duration(number(t, "AWAY", awayLong))*time.Second)
}

// kafkaAway is a scene of TestEnvelopes.
func kafkaAway(ctx context.Context, b *bus) { without(ctx, b, awaySeconds*time.Second) }

// flood are 200 webhooks a second and what the door said to them.
type flood struct {
	mu       sync.Mutex
	answers  map[int]int
	unsaid   int             // 503 without Retry-After
	taken    map[string]bool // bodies
	slowest  time.Duration
	resident int // at most, KiB
}

func (f *flood) sent(a answer, body []byte, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[a.status]++
	f.slowest = max(f.slowest, took)
	switch {
	case a.status == http.StatusOK:
		f.taken[string(body)] = true
	case a.header.Get("Retry-After") == "":
		f.unsaid++
	}
}

// without sends webhooks while Kafka does not answer for a while, and a little longer: each is answered 2xx
// or 503, the door's memory stays below its limit, and what was answered 2xx is in the log.
func without(ctx context.Context, b *bus, d time.Duration) {
	p := paper{"lakeshore", "eeeeeeee-0000-4000-8000-000000000040"}
	b.write(ctx, p, "sent", "", 0, "somebody@example.com")
	b.delivered(ctx, "lakeshore")
	f := flood{answers: map[int]int{}, taken: map[string]bool{}}
	door := b.Children()["ingest"]
	require.True(b.t, b.Signal("broker", syscall.SIGSTOP))
	began, back := time.Now(), false
	var work sync.WaitGroup
	for n := 0; time.Since(began) < d+backFor; n++ {
		work.Go(func() {
			d, began := b.thin(p, n), time.Now()
			f.sent(b.send(ctx, d), d.body, time.Since(began))
		})
		if n%200 == 0 {
			f.resident = max(f.resident, b.resident(door))
		}
		if !back && time.Since(began) >= d {
			back = b.Signal("broker", syscall.SIGCONT)
		}
		chaos.Pause(ctx, time.Until(began.Add(time.Duration(n+1)*awayEvery)))
	}
	work.Wait()
	b.t.Logf("Kafka away for %s: answers %v, the slowest after %s, resident at most %d KiB",
		d, f.answers, f.slowest.Round(time.Millisecond), f.resident)
	require.Equal(b.t, door, b.Children()["ingest"], "it is still the same process")
	require.NotZero(b.t, f.answers[http.StatusServiceUnavailable], "it was away long enough")
	require.NotEmpty(b.t, f.taken)
	require.Len(b.t, f.answers, 2, "503 and 200")
	require.Zero(b.t, f.unsaid, "503 without Retry-After")
	require.Positive(b.t, f.resident)
	require.Less(b.t, f.resident, doorKiBMost)
	accepted, inLog := len(f.taken), 0
	for _, m := range b.messages(ctx, "webhooks.docusign.v1") {
		delete(f.taken, string(m.Message.(*event.WebhookReceived).Body))
		inLog++
	}
	b.t.Logf("%d answered 2xx, %d records in the log, %d missing", accepted, inLog, len(f.taken))
	require.Empty(b.t, f.taken, "answered 200, and not in the log")
}

// resident is a process's memory in KiB, as the kernel counts it.
func (b *bus) resident(pid int) int {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	require.NoError(b.t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			n, err := strconv.Atoi(f[1])
			require.NoError(b.t, err)
			return n
		}
	}
	return 0
}
