package ingest

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// envLong asks for what takes minutes, on demand and not in CI: the long outage, and the t-test of
// refusals' times.
const envLong = "CONVEYANCE_TEST_LONG"

func TestKafkaAwayIsToldWithinTheDeadlineAndWhatIsInFlightLandsLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, twoBrokerages())
		h.bus.gate = make(chan struct{})
		began := time.Now()
		resp := h.deliver(bodyOf("d-1", "A-1"))
		require.Equal(t, time.Second, time.Since(began), "the vendor waits 2 s, less our margin")
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		require.Equal(t, retryAfter, resp.Header.Get("Retry-After"))
		require.ErrorIs(t, h.Ready(), errAway)
		require.EqualValues(t, 1, h.records.used.Load(), "it is left in flight")
		close(h.bus.gate)
		synctest.Wait()
		records, _ := h.bus.all()
		require.Len(t, records, 1)
		require.Equal(t, 1, h.count(t, "late:accepted"), "its ack is only counted")
		require.Zero(t, h.count(t, outcomeAccepted))
		require.Zero(t, h.records.used.Load())
		require.Zero(t, h.bytes.used.Load())
		require.NoError(t, h.Ready())
	})
}

// TestMinutesWithoutKafka sends 200 deliveries a second while nothing is acknowledged: for two minutes,
// and for ten where envLong asks for them. What can fill is full after eleven seconds. It measures the
// memory of the process, so it runs alone.
func TestMinutesWithoutKafka(t *testing.T) {
	const rate = 200
	minutes := 2
	if os.Getenv(envLong) != "" {
		minutes = 10
	}
	synctest.Test(t, func(t *testing.T) {
		h := build(t, twoBrokerages())
		h.bus.gate = make(chan struct{})
		pad := strings.Repeat("x", 2048)
		var mu sync.Mutex
		answers := map[string]int{} // id to status
		var all sync.WaitGroup
		send := func(i int) {
			id := fmt.Sprintf("d-%06d", i)
			status := h.deliver(`{"id":"` + id + `","account":"A-1","pad":"` + pad + `"}`).StatusCode
			mu.Lock()
			answers[id] = status
			mu.Unlock()
		}
		before := heap()
		var most uint64
		for second := range minutes * 60 {
			for i := range rate {
				all.Go(func() { send(second*rate + i) })
			}
			<-time.After(time.Second) // of the bubble's clock
			if second%60 == 59 {
				most = max(most, heap())
			}
		}
		all.Wait()
		require.LessOrEqual(t, h.records.used.Load(), int64(recordsMax))
		require.LessOrEqual(t, h.bytes.used.Load(), int64(bytesMax))
		require.Less(t, int64(most)-int64(before), int64(96<<20), "memory")
		for id, status := range answers {
			require.Equal(t, http.StatusServiceUnavailable, status, id)
		}
		require.Len(t, answers, rate*60*minutes)

		close(h.bus.gate) // Kafka is back
		synctest.Wait()
		for i := range 1000 {
			all.Go(func() { send(1_000_000 + i) })
		}
		all.Wait()
		landed := map[string]bool{}
		records, _ := h.bus.all()
		for _, r := range records {
			landed[r.DeliveryID] = true
		}
		ok := 0
		for id, status := range answers {
			if status == http.StatusOK {
				ok++
				require.True(t, landed[id], "%s was answered 200 and is not in the log", id)
			}
		}
		require.Equal(t, 1000, ok)
		lines := h.logs.FilterMessage("kafka.away").Len() + h.logs.FilterMessage("kafka.back").Len()
		require.Equal(t, 2, lines, "an outage is two lines in the log, however many deliveries came")
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func TestLargeDeliveriesInFlightAreBoundedByTheirBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, twoBrokerages())
		h.bus.gate = make(chan struct{})
		large := strings.Repeat(" ", bodyBytesMax)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { require.Equal(t, http.StatusServiceUnavailable, h.deliver(large).StatusCode) })
			synctest.Wait()
		}
		require.LessOrEqual(t, h.bytes.used.Load(), int64(bytesMax))
		require.Positive(t, h.count(t, "full"))
		all.Wait()
		close(h.bus.gate)
		synctest.Wait()
		require.Zero(t, h.bytes.used.Load())
	})
}

func TestLargeBodiesThatComeInAtOnceAreBoundedAndSmallOnesGoOn(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	require.True(t, h.reading.take(readingBytesMax-1))
	require.Equal(t, http.StatusServiceUnavailable, h.deliver(strings.Repeat(" ", 2*freeBytes)).StatusCode)
	require.Equal(t, http.StatusOK, h.deliver(bodyOf("small", "A-1")).StatusCode)
	require.EqualValues(t, readingBytesMax-1, h.reading.used.Load(), "nothing that was not taken is given back")
	h.reading.give(readingBytesMax - 1)
	require.Equal(t, http.StatusOK, h.deliver(strings.Repeat(" ", 2*freeBytes)).StatusCode)
	require.Zero(t, h.reading.used.Load())
}
