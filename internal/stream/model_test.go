package stream_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/avro/topic"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
	"conveyance/internal/verdict"
)

// TestOrderAndOnceUnderEverything drives an engine through random fates of calls, releases, wakes,
// rewinds, restarts and crashes, and compares with a model that knows only what was published:
// every effect once, in order per key.
func TestOrderAndOnceUnderEverything(t *testing.T) {
	t.Parallel()
	require.NoError(t, flag.Set("rapid.checks", "12"))
	w := newWorld(t, 3)
	s := &scenario{w: w, fates: map[string][]string{}, published: map[string]int64{}}
	s.start()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		keys := []string{
			fmt.Sprintf("%d-a", round),
			fmt.Sprintf("%d-b", round),
			fmt.Sprintf("%d-c", round),
			fmt.Sprintf("%d-d", round),
		}
		for range rapid.IntRange(15, 40).Draw(rt, "steps") {
			s.step(rt, rapid.SampledFrom(keys).Draw(rt, "key"))
		}
		s.heal()
		for _, key := range keys {
			require.Equal(rt, lines("lakeshore/"+key, 1, int(s.published[key])), of(s.v.done(), "lakeshore/"+key))
		}
	})
	require.Zero(t, get[int64](w, "SELECT count(*) FROM {schema}.ledger WHERE state <> 2"))
	var total int64
	for _, n := range s.published {
		total += n
	}
	require.Equal(t, total, get[int64](w, "SELECT count(*) FROM {schema}.ledger"))
}

type scenario struct {
	w     *world
	v     *vendor
	p     *proxy
	pool  *pgxpool.Pool
	r     *running
	scope verdict.Scope

	mu        sync.Mutex
	fates     map[string][]string // what the next calls of an effect come to
	published map[string]int64
}

func (s *scenario) start() {
	s.scope = verdict.TenantScope("lakeshore")
	if s.v == nil {
		s.v = &vendor{class: ledger.ClassC}
		s.v.apply = s.apply
	}
	s.p = newProxy(s.w.t)
	s.pool = s.p.pool()
	cfg := s.w.config()
	cfg.CallDeadline, cfg.VendorLag, cfg.DrainTimeout = 100*time.Millisecond, 20*time.Millisecond, 300*time.Millisecond
	s.r = s.w.run(stream.NewKeyed(cfg, s.w.deps(s.pool), s.v))
}

func (s *scenario) apply(ctx context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
	s.mu.Lock()
	fate := ""
	if left := s.fates[f.Line]; len(left) > 0 {
		fate, s.fates[f.Line] = left[0], left[1:]
	}
	s.mu.Unlock()
	switch fate {
	case "retry":
		return ledger.Receipt{}, verdict.RetryAfter(time.Millisecond, "busy", nil)
	case "wait":
		return ledger.Receipt{}, verdict.RetryAfter(time.Minute, "busy for long", nil)
	case "hold":
		return ledger.Receipt{}, verdict.Held(s.scope, time.Time{}, "refused", nil)
	case "park":
		return ledger.Receipt{}, verdict.Parked("broken", nil)
	case "stall":
		return ledger.Receipt{}, verdict.Stalled("down", nil)
	case "carried":
		s.v.carry(f.Line)
		return ledger.Receipt{}, errCut
	case "lost":
		return ledger.Receipt{}, errCut
	case "panic":
		panic("planted")
	case "hang":
		<-ctx.Done()
		return ledger.Receipt{}, ctx.Err()
	}
	return ledger.Receipt{}, nil
}

func (s *scenario) step(rt *rapid.T, key string) {
	steps := []string{
		"publish",
		"publish",
		"publish",
		"publish",
		"publish",
		"release",
		"wake",
		"restart",
		"crash",
		"rewind",
	}
	switch rapid.SampledFrom(steps).Draw(rt, "step") {
	case "publish":
		s.mu.Lock()
		s.published[key]++
		d := deal("lakeshore", key, s.published[key])
		s.fates[line(d, "set")] = rapid.SliceOfN(rapid.SampledFrom([]string{
			"", "", "", "retry", "wait", "hold", "park", "stall", "carried", "lost", "panic", "hang",
		}), 0, 2).Draw(rt, "fates")
		s.mu.Unlock()
		s.w.publish(d)
	case "release":
		s.w.release(ledger.Filter{})
	case "wake":
		_, err := ledger.Wake(s.w.t.Context(), s.w.pool, s.w.schema, s.scope)
		require.NoError(rt, err)
	case "restart":
		s.r.stop()
		s.pool.Close()
		s.start()
	case "crash":
		s.p.cutOff()
		s.r.stop()
		s.pool.Close()
		s.start()
	case "rewind":
		offsets, err := ledger.Offsets(s.w.t.Context(), s.w.pool, s.w.schema)
		require.NoError(rt, err)
		if len(offsets) == 0 {
			return
		}
		o := rapid.SampledFrom(offsets).Draw(rt, "partition")
		if o.Next == nil {
			return
		}
		to := rapid.Int64Range(0, *o.Next).Draw(rt, "offset")
		require.NoError(
			rt,
			ledger.Rewind(
				s.w.t.Context(),
				s.w.pool,
				s.w.schema,
				ledger.Place{Topic: topic.Deals, Part: o.Partition},
				to,
				"ops",
				"model",
			),
		)
	}
}

// heal lets every call go well and releases what waits until nothing does.
func (s *scenario) heal() {
	s.mu.Lock()
	s.fates = map[string][]string{}
	var total int64
	for _, n := range s.published {
		total += n
	}
	s.mu.Unlock()
	s.w.eventually("all through", func() bool {
		s.w.release(ledger.Filter{})
		return s.w.watermark() == total && get[int64](s.w, "SELECT count(*) FROM {schema}.queued_key") == 0
	})
}
