package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/topic"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
	"conveyance/internal/testkit"
	"conveyance/internal/verdict"
)

func lines(id string, from, to int) []string {
	var ls []string
	for n := from; n <= to; n++ {
		ls = append(ls, fmt.Sprintf("%s#%d", id, n))
	}
	return ls
}

func TestEachEffectHappensOnceAndInOrderPerKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	v := &vendor{class: ledger.ClassB}
	w.keyed(v)
	for n := int64(1); n <= 10; n++ {
		for d := range 5 {
			w.publish(deal("lakeshore", strconv.Itoa(d), n))
		}
	}
	w.atWatermark(50)
	for d := range 5 {
		id := fmt.Sprintf("lakeshore/%d", d)
		require.Equal(t, lines(id, 1, 10), of(v.done(), id))
	}
	require.EqualValues(t, 50, get[int64](w, "SELECT count(*) FROM {schema}.ledger WHERE state = 2"))
}

// Rule 26: one record of a key at a time, whatever the outcome of the one before.
func TestRecordsOfAKeyAreNeverInHandTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var inHand, most, tries atomic.Int32
	v := &vendor{
		class: ledger.ClassB,
		apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
			most.Store(max(most.Load(), inHand.Add(1)))
			defer inHand.Add(-1)
			if tries.Add(1)%3 == 1 {
				return ledger.Receipt{}, verdict.RetryAfter(time.Millisecond, "busy", nil)
			}
			return ledger.Receipt{}, nil
		},
	}
	w.keyed(v)
	for n := int64(1); n <= 8; n++ {
		w.publish(deal("lakeshore", "1", n))
	}
	w.atWatermark(8)
	require.EqualValues(t, 1, most.Load())
	require.Equal(t, lines("lakeshore/1", 1, 8), v.done())
}

// Rule 25: the second copy waits for the first and ends like it.
func TestCopyOfARecordHasNoSecondEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{class: ledger.ClassB}
	d := deal("lakeshore", "1", 1)
	w.publish(d, d)
	w.keyed(v)
	w.atWatermark(2)
	w.publish(d)
	w.atWatermark(3)
	require.Equal(t, lines("lakeshore/1", 1, 1), v.called())
}

// Rule 25: also where the copy came under another key, and so beside the first.
func TestCopyUnderAnotherKeyWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	called, answer := make(chan struct{}), make(chan struct{})
	v := &vendor{
		class: ledger.ClassB,
		apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
			close(called)
			<-answer
			return ledger.Receipt{}, nil
		},
	}
	cfg := w.config()
	cfg.CallDeadline = time.Minute
	w.run(stream.NewKeyed(cfg, w.deps(w.pool), v))
	d := deal("lakeshore", "1", 1)
	w.publish(d)
	<-called
	other := out(d)
	other.Key = []byte("other")
	require.NoError(t, w.pub.Publish(t.Context(), other))
	w.publish(deal("lakeshore", "1", 2))
	began := time.Now()
	w.eventually("time to overtake", func() bool { return time.Since(began) > 500*time.Millisecond })
	require.Len(t, v.called(), 1)
	require.Zero(t, w.watermark())
	v.apply = nil
	close(answer)
	w.atWatermark(3)
	require.Equal(t, lines("lakeshore/1", 1, 2), v.called())
}

// Rules 14 and 42: what is older than the applied revision is superseded.
func TestOlderRevisionIsSuperseded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{class: ledger.ClassB}
	w.publish(deal("lakeshore", "1", 2), deal("lakeshore", "1", 1), deal("lakeshore", "1", 3))
	w.keyed(v)
	w.atWatermark(3)
	require.Equal(t, []string{"lakeshore/1#2", "lakeshore/1#3"}, v.called())
	require.Equal(t, "lakeshore/1#1=3 lakeshore/1#2=2 lakeshore/1#3=2", w.states())
}

func TestUnmarkedErrorOfPlanIsARetryAndOfApplyADoubt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var plans, calls atomic.Int32
	v := &vendor{class: ledger.ClassD, plan: func(*stream.Record) error {
		if plans.Add(1) == 1 {
			return errors.New("directory away")
		}
		return nil
	}, apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
		calls.Add(1)
		return ledger.Receipt{}, errCut
	}}
	w.publish(deal("lakeshore", "1", 1))
	w.keyed(v)
	w.atWatermark(1)
	require.EqualValues(t, 1, calls.Load(), "class D is never sent again by itself (rules 30, 37)")
	require.Equal(t, "lakeshore/1#1=5", w.states())
	require.Equal(t, "3 outcome unknown", get[string](w, "SELECT kind || ' ' || cause FROM {schema}.queued_key"))
}

// Rule 30, class C: a timeout is not "not done".
func TestCallWithoutAnswerIsReadBackAndNotSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var sent time.Time
	v := &vendor{class: ledger.ClassC}
	v.apply = func(_ context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
		sent = time.Now()
		v.carry(f.Line)
		return ledger.Receipt{}, errCut
	}
	w.publish(deal("lakeshore", "1", 1))
	w.keyed(v)
	w.atWatermark(1)
	require.GreaterOrEqual(
		t,
		time.Since(sent),
		1600*time.Millisecond,
		"read back only after F + D + the vendor's own time (rule 35)",
	)
	require.Equal(t, lines("lakeshore/1", 1, 1), v.done())
	require.Equal(t, "lakeshore/1#1=2", w.states())
}

func TestEffectThatIsSurelyAbsentIsSentAgainAndReadBackOnceMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var calls atomic.Int32
	v := &vendor{
		class: ledger.ClassC,
		apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
			if calls.Add(1) == 1 {
				return ledger.Receipt{}, errCut
			}
			return ledger.Receipt{}, nil
		},
	}
	w.publish(deal("lakeshore", "1", 1))
	w.keyed(v)
	w.atWatermark(1)
	require.Equal(t, lines("lakeshore/1", 1, 1), v.done())
	require.EqualValues(t, 1, get[int64](w, "SELECT count(*) FROM {schema}.readback WHERE round = 1"), "rule 36")
	v.carry("lakeshore/1#1") // a call of somebody else's lands late
	w.exec("UPDATE {schema}.readback SET due = now()")
	w.eventually("a flag", func() bool {
		return get[int64](w, "SELECT count(*) FROM {schema}.call_evidence WHERE outcome LIKE 'found twice%'") == 1
	})
	w.eventually("the sweep ends", func() bool { return get[int64](w, "SELECT count(*) FROM {schema}.readback") == 0 })
}

func TestTwoOfThreeEffectsAreNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var refuse atomic.Bool
	refuse.Store(true)
	v := &vendor{
		class: ledger.ClassC, verbs: []string{"a", "b", "c"},
		apply: func(_ context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
			if f.Verb == "c" && refuse.Load() {
				return ledger.Receipt{}, verdict.Parked("refused by the vendor", nil)
			}
			return ledger.Receipt{}, nil
		},
	}
	w.publish(deal("lakeshore", "1", 1))
	r := w.keyed(v)
	w.atWatermark(1)
	require.Equal(t, "lakeshore/1#1:a=2 lakeshore/1#1:b=2 lakeshore/1#1:c=4", w.states())
	r.stop()
	refuse.Store(false)
	w.keyed(v)
	w.release(ledger.Filter{})
	w.emptyQueue()
	require.Equal(t, []string{"lakeshore/1#1:a", "lakeshore/1#1:b", "lakeshore/1#1:c"}, v.done())
	require.Equal(t, "lakeshore/1#1:a=2 lakeshore/1#1:b=2 lakeshore/1#1:c=2", w.states())
}

func (w *world) release(f ledger.Filter) {
	w.t.Helper()
	_, err := ledger.NewQueue(w.pool, w.schema).Release(w.t.Context(), f, "ops", "mended")
	require.NoError(w.t, err)
}

func (w *world) emptyQueue() {
	w.t.Helper()
	w.eventually("an empty queue", func() bool {
		return get[int64](w, "SELECT count(*) FROM {schema}.queued_key")+
			get[int64](w, "SELECT count(*) FROM {schema}.queued_record WHERE state = 1") == 0
	})
}

func TestParkedRecordHoldsItsKeyAloneAndFlowsInOrderWhenReleased(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	var mended atomic.Bool
	v := &vendor{
		class: ledger.ClassB,
		apply: func(_ context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
			if f.Line == "lakeshore/1#2" && !mended.Load() {
				return ledger.Receipt{}, verdict.Parked("stage unknown", nil)
			}
			return ledger.Receipt{}, nil
		},
	}
	w.keyed(v)
	for n := int64(1); n <= 4; n++ {
		w.publish(deal("lakeshore", "1", n), deal("lakeshore", "2", n))
	}
	w.atWatermark(8)
	require.Equal(t, lines("lakeshore/1", 1, 1), of(v.done(), "lakeshore/1"))
	require.Equal(t, lines("lakeshore/2", 1, 4), of(v.done(), "lakeshore/2"))
	require.EqualValues(t, 3, get[int64](w, "SELECT count FROM {schema}.queued_key"))
	mended.Store(true)
	w.release(ledger.Filter{Tenant: "lakeshore"}) // two operators at once
	w.release(ledger.Filter{Tenant: "lakeshore"})
	w.emptyQueue()
	require.Equal(t, lines("lakeshore/1", 1, 4), of(v.done(), "lakeshore/1"))
	require.EqualValues(t, 2, get[int64](w, "SELECT count(*) FROM {schema}.queue_audit WHERE actor = 'ops'"))
}

// Rule 39: a record that comes while its key is drained goes behind it; none is lost.
func TestRecordsBehindADrainingKeyAreNeitherLostNorAhead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var mended atomic.Bool
	v := &vendor{
		class: ledger.ClassB,
		apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
			if !mended.Load() {
				return ledger.Receipt{}, verdict.Parked("refused", nil)
			}
			return ledger.Receipt{}, nil
		},
	}
	w.keyed(v)
	for n := int64(1); n <= 30; n++ { // more than come out of the queue at once
		w.publish(deal("lakeshore", "1", n))
	}
	w.atWatermark(30)
	mended.Store(true)
	w.release(ledger.Filter{})
	for n := int64(31); n <= 60; n++ {
		w.publish(deal("lakeshore", "1", n))
	}
	w.atWatermark(60)
	w.emptyQueue()
	w.eventually("all applied", func() bool { return len(v.done()) == 60 })
	require.Equal(t, lines("lakeshore/1", 1, 60), v.done())
}

// Rule 39: a restart below a parked record neither parks it twice nor handles it live.
func TestRestartBelowAParkedRecordLeavesItInTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	block := make(chan struct{})
	v := &vendor{
		class: ledger.ClassB,
		apply: func(ctx context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
			switch f.Line {
			case "lakeshore/slow#1":
				select {
				case <-block:
				case <-ctx.Done():
				}
				return ledger.Receipt{}, verdict.RetryAfter(time.Hour, "slow", nil)
			case "lakeshore/1#1":
				return ledger.Receipt{}, verdict.Parked("refused", nil)
			}
			return ledger.Receipt{}, nil
		},
	}
	w.publish(deal("lakeshore", "slow", 1), deal("lakeshore", "1", 1), deal("lakeshore", "1", 2))
	r := w.keyed(v)
	w.eventually("parked", func() bool { return get[int64](w, "SELECT count(*) FROM {schema}.queued_record") == 2 })
	require.EqualValues(t, 0, w.watermark(), "the slow record holds the watermark")
	require.NoError(
		t,
		ledger.Rewind(t.Context(), w.pool, w.schema, ledger.Place{Topic: topic.Deals}, 0, "ops", "as a crash"),
	)
	close(block)
	r.stop()
	w.keyed(v)
	w.atWatermark(3)
	require.EqualValues(t, 2, get[int64](w, "SELECT count(*) FROM {schema}.queued_record WHERE key_id LIKE '%/1'"))
	require.Len(t, of(v.called(), "lakeshore/1"), 1)
}

// Rule 39: nor is a record handled live whose place in the queue was given up.
func TestDroppedRecordStaysDroppedBelowTheWatermark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var broken atomic.Bool
	broken.Store(true)
	v := &vendor{class: ledger.ClassB, facts: true, plan: func(r *stream.Record) error {
		if broken.Load() && r.Offset == 0 {
			return verdict.Parked("no mapping", nil)
		}
		return nil
	}}
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "1", 2))
	w.keyed(v)
	w.atWatermark(2)
	key := get[string](w, "SELECT key_id FROM {schema}.queued_key")
	require.NoError(t, ledger.NewQueue(w.pool, w.schema).Drop(t.Context(), topic.Deals, key, "ops", "twice"))
	w.emptyQueue()
	broken.Store(false)
	require.NoError(
		t,
		ledger.Rewind(t.Context(), w.pool, w.schema, ledger.Place{Topic: topic.Deals}, 0, "ops", "as a crash"),
	)
	w.publish(deal("lakeshore", "1", 3))
	w.atWatermark(3)
	require.Equal(t, lines("lakeshore/1", 2, 3), v.called())
}

func TestStallWaitsForTheWorldWithoutSpendingAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var down atomic.Bool
	down.Store(true)
	var attempts sync.Map
	v := &vendor{
		class: ledger.ClassD,
		apply: func(_ context.Context, r *stream.Record, _ ledger.Effect) (ledger.Receipt, error) {
			attempts.Store(r.Attempt, true)
			if down.Load() {
				return ledger.Receipt{}, verdict.Stalled("vendor down", nil)
			}
			return ledger.Receipt{}, nil
		},
	}
	r := w.keyed(v)
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "2", 1))
	w.eventually("several tries", func() bool { return len(v.called()) >= 4 })
	require.ErrorContains(t, r.Ready(), "deals.v1/0: vendor down")
	require.Zero(t, w.watermark())
	down.Store(false)
	w.atWatermark(2)
	require.ElementsMatch(t, []string{"lakeshore/1#1", "lakeshore/2#1"}, v.done())
	_, second := attempts.Load(2)
	require.False(t, second)
	require.NoError(t, r.Ready())
}

func TestAttemptsThatAreSpentPark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{
		class: ledger.ClassB,
		apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
			return ledger.Receipt{}, verdict.RetryAfter(time.Minute, "busy", nil)
		},
	}
	w.keyed(v)
	w.publish(deal("lakeshore", "1", 1))
	w.atWatermark(1)
	require.Equal(
		t,
		"1 busy",
		get[string](w, "SELECT kind || ' ' || cause FROM {schema}.queued_key"),
		"longer than ten seconds is a hold",
	)
	require.Empty(t, w.states(), "surely not done: the claim was taken back")
	w.exec("UPDATE {schema}.queued_record SET attempts = 11")
	w.release(ledger.Filter{})
	w.eventually("parked", func() bool {
		return get[int64](
			w,
			"SELECT count(*) FROM {schema}.queued_key WHERE kind = 3 AND cause = 'busy (attempts spent)'",
		) == 1
	})
	require.Len(t, v.called(), 2)
	require.Equal(t, "lakeshore/1#1=4", w.states())
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	started, finish := make(chan struct{}), make(chan struct{})
	v := &vendor{
		class: ledger.ClassD,
		apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
			close(started)
			<-finish
			return ledger.Receipt{}, nil
		},
	}
	w.publish(deal("lakeshore", "1", 1))
	r := w.keyed(v)
	<-started
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.stop() }()
	close(finish)
	select {
	case <-stopped:
	case <-time.After(testkit.Patience):
		require.Fail(t, "shutdown hangs")
	}
	require.Equal(t, "lakeshore/1#1=2", w.states())
	require.EqualValues(t, 1, w.watermark())
}
