package stream_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/topic"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
	"conveyance/internal/verdict"
)

// doomed is an engine that will lose Postgres and die with what it has in hand.
func (w *world) doomed(p *proxy, h stream.KeyedHandler) *running {
	w.t.Helper()
	cfg := w.config()
	cfg.DrainTimeout = 50 * time.Millisecond
	return w.run(stream.NewKeyed(cfg, w.deps(p.pool()), h))
}

// crash runs one engine up to a call of the first record that is carried out (or not, before) and
// whose outcome it cannot write, ends it, and starts another.
func crash(t *testing.T, class ledger.Class, carried bool, then ...func(w *world, v *vendor)) (*world, *vendor) {
	w := newWorld(t, 1)
	p := newProxy(t)
	v := &vendor{class: class}
	var dying atomic.Bool
	reached := make(chan struct{})
	v.apply = func(ctx context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
		if dying.CompareAndSwap(false, true) {
			if carried {
				v.carry(f.Line)
			}
			p.cutOff()
			close(reached)
			<-ctx.Done()
			return ledger.Receipt{}, ctx.Err()
		}
		if class == ledger.ClassB && len(of(v.done(), "lakeshore/1")) > 0 && f.Line == "lakeshore/1#1" {
			return ledger.Receipt{}, verdict.Skipped("the vendor knows the key") // it does nothing twice
		}
		return ledger.Receipt{}, nil
	}
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "1", 2))
	r := w.doomed(p, v)
	<-reached
	r.stop()
	for _, fn := range then {
		fn(w, v)
	}
	w.keyed(v)
	return w, v
}

func TestCrashAfterTheCallClassB(t *testing.T) {
	t.Parallel()
	w, v := crash(t, ledger.ClassB, true)
	w.atWatermark(2)
	require.Equal(t, lines("lakeshore/1", 1, 2), v.done())
	require.Equal(
		t,
		[]string{"lakeshore/1#1", "lakeshore/1#1", "lakeshore/1#2"},
		v.called(),
		"sent again with its key, before anything later (rule 33)",
	)
}

func TestCrashAfterTheCallClassC(t *testing.T) {
	t.Parallel()
	w, v := crash(t, ledger.ClassC, true)
	w.atWatermark(2)
	require.Equal(t, lines("lakeshore/1", 1, 2), v.done())
	require.Equal(t, lines("lakeshore/1", 1, 2), v.called(), "read back, not sent again")
}

func TestCrashBeforeTheCallClassC(t *testing.T) {
	t.Parallel()
	w, v := crash(t, ledger.ClassC, false)
	w.atWatermark(2)
	require.Equal(t, lines("lakeshore/1", 1, 2), v.done())
	require.EqualValues(t, 1, get[int64](w, "SELECT count(*) FROM {schema}.readback"), "rule 36")
}

func TestCrashAfterTheCallClassD(t *testing.T) {
	t.Parallel()
	w, v := crash(t, ledger.ClassD, true)
	w.atWatermark(2)
	require.Equal(t, lines("lakeshore/1", 1, 1), v.called(), "never sent twice by the engine (rule 37)")
	require.Equal(t, "lakeshore/1#1=5", w.states())
	key := get[string](w, "SELECT key_id FROM {schema}.queued_key WHERE cause = 'outcome unknown' AND count = 2")
	w.release(ledger.Filter{}) // a release of everything says nothing of an unknown outcome
	w.eventually(
		"the owner has looked",
		func() bool { return !get[bool](w, "SELECT release_wanted FROM {schema}.queued_key") },
	)
	require.Equal(t, "outcome unknown", get[string](w, "SELECT cause FROM {schema}.queued_key"), "a person still finds it")
	require.Equal(t, lines("lakeshore/1", 1, 1), v.called())
	require.NoError(
		t,
		ledger.NewQueue(w.pool, w.schema).Settle(t.Context(), topic.Deals, key, true, "ops", "seen at the vendor"),
	)
	w.emptyQueue()
	require.Equal(t, lines("lakeshore/1", 1, 2), v.done())
	require.Equal(t, "lakeshore/1#1=2 lakeshore/1#2=2", w.states())
}

func TestUnknownOutcomeIsSentAgainOnAPersonsWord(t *testing.T) {
	t.Parallel()
	w, v := crash(t, ledger.ClassD, false)
	w.atWatermark(2)
	key := get[string](w, "SELECT key_id FROM {schema}.queued_key")
	require.NoError(
		t,
		ledger.NewQueue(w.pool, w.schema).Settle(t.Context(), topic.Deals, key, false, "ops", "not there"),
	)
	w.emptyQueue()
	require.Equal(t, lines("lakeshore/1", 1, 2), v.done())
}

// Rule 27: what is in doubt is not skipped because something newer is in place.
func TestDoubtIsNotSkippedAsSuperseded(t *testing.T) {
	t.Parallel()
	w, v := crash(t, ledger.ClassC, false, func(w *world, _ *vendor) {
		w.exec("INSERT INTO {schema}.versions SELECT key_id, 'set', 1, gen_random_uuid() FROM {schema}.ledger")
	})
	w.atWatermark(2)
	require.Equal(t, lines("lakeshore/1", 1, 2), v.done())
	require.NotZero(t, v.reads)
}

// Rule 27: nor because a fresh plan finds nothing to do.
func TestDoubtIsNotSkippedByAPlan(t *testing.T) {
	t.Parallel()
	w, v := crash(t, ledger.ClassC, true, func(_ *world, v *vendor) {
		v.plan = func(r *stream.Record) error { return verdict.Skipped("already so") }
	})
	w.atWatermark(2)
	require.Len(t, v.called(), 1)
	require.Equal(t, "outcome unknown 2", get[string](w, "SELECT cause || ' ' || count FROM {schema}.queued_key"))
}

// Rule 31: end states are written above the watermark too, so that a crash asks about no call that
// was answered.
func TestAnsweredCallsAboveTheWatermarkAreNotAskedAbout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	p := newProxy(t)
	v := &vendor{class: ledger.ClassD}
	var blocked atomic.Bool
	v.apply = func(ctx context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
		if f.Line == "lakeshore/slow#1" && blocked.CompareAndSwap(false, true) {
			<-ctx.Done()
		}
		return ledger.Receipt{}, nil
	}
	w.publish(deal("lakeshore", "slow", 1), deal("lakeshore", "1", 1), deal("lakeshore", "2", 1))
	cfg := w.config()
	cfg.DrainTimeout, cfg.CallDeadline = 50*time.Millisecond, time.Minute
	r := w.run(stream.NewKeyed(cfg, w.deps(p.pool()), v))
	w.eventually(
		"two answered",
		func() bool { return get[int64](w, "SELECT count(*) FROM {schema}.ledger WHERE state = 2") == 2 },
	)
	require.Zero(t, w.watermark())
	p.cutOff()
	r.stop()
	w.keyed(v)
	w.atWatermark(3)
	require.Equal(t, "lakeshore/1#1=2 lakeshore/2#1=2 lakeshore/slow#1=5", w.states())
	require.Len(t, of(v.called(), "lakeshore/1"), 1)
}

// Rule 33: a key that the vendor may have forgotten is not relied on; the effect is read back.
func TestForgottenKeyIsReadBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var once atomic.Bool
	v := &vendor{class: ledger.ClassB}
	v.apply = func(_ context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
		if once.CompareAndSwap(false, true) {
			v.carry(f.Line)
			return ledger.Receipt{}, errCut
		}
		return ledger.Receipt{}, nil
	}
	cfg := w.config()
	cfg.KeyLife = time.Hour + time.Nanosecond // an hour of it is not trusted
	w.run(stream.NewKeyed(cfg, w.deps(w.pool), v))
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "1", 2))
	w.atWatermark(2)
	require.Equal(t, lines("lakeshore/1", 1, 2), v.done())
	require.Equal(t, 1, v.reads)
}

// Rule 24: of class D nothing is claimed that is not called next.
func TestClassDClaimsOnlyWhatIsCalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	block := make(chan struct{})
	v := &vendor{
		class: ledger.ClassD,
		verbs: []string{"a", "b"},
		apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
			<-block
			return ledger.Receipt{}, nil
		},
	}
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		w.publish(deal("lakeshore", id, 1))
	}
	cfg := w.config()
	cfg.Concurrency, cfg.CallDeadline = 2, time.Minute
	w.run(stream.NewKeyed(cfg, w.deps(w.pool), v))
	w.eventually("two calls", func() bool { return len(v.called()) == 2 })
	require.EqualValues(t, 2, get[int64](w, "SELECT count(*) FROM {schema}.ledger"))
	close(block)
	w.atWatermark(5)
	require.Len(t, v.done(), 10)
}

// Rule 39: a release is obeyed to the end of the queue, whoever owns the partition.
func TestReleaseOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	p := newProxy(t)
	var mended, dying atomic.Bool
	reached := make(chan struct{})
	v := &vendor{class: ledger.ClassC}
	v.apply = func(ctx context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
		if !mended.Load() {
			return ledger.Receipt{}, verdict.Parked("refused", nil)
		}
		if f.Line == "lakeshore/1#5" && dying.CompareAndSwap(false, true) {
			w.eventually("the first ones are written", func() bool {
				return get[int64](w, "SELECT count(*) FROM {schema}.queued_record WHERE state = 2") == 4
			})
			p.cutOff()
			close(reached)
			<-ctx.Done()
			return ledger.Receipt{}, ctx.Err()
		}
		return ledger.Receipt{}, nil
	}
	r := w.doomed(p, v)
	for n := int64(1); n <= 8; n++ {
		w.publish(deal("lakeshore", "1", n))
	}
	w.atWatermark(8)
	mended.Store(true)
	w.release(ledger.Filter{})
	<-reached
	r.stop()
	w.keyed(v)
	w.emptyQueue()
	require.Equal(t, lines("lakeshore/1", 1, 8), v.done())
}

// Rules 5 and 6: a commit whose answer is lost is repeated with its number, not done twice.
func TestLostAnswersToCommitsChangeNothing(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(p *proxy){
		"committed":     func(p *proxy) { p.lose = 1 },
		"not committed": func(p *proxy) { p.early = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			p := newProxy(t)
			v := &vendor{class: ledger.ClassD}
			w.run(stream.NewKeyed(w.config(), w.deps(p.pool()), v))
			w.publish(deal("lakeshore", "0", 1))
			w.atWatermark(1)
			for n := int64(1); n <= 10; n++ {
				p.set(func() { lose(p) })
				w.publish(deal("lakeshore", "1", n), deal("lakeshore", "2", n))
				w.atWatermark(1 + 2*n)
			}
			require.GreaterOrEqual(t, p.lostCommits(), 10)
			require.Equal(t, lines("lakeshore/1", 1, 10), of(v.called(), "lakeshore/1"))
			require.Equal(t, lines("lakeshore/2", 1, 10), of(v.called(), "lakeshore/2"))
			require.EqualValues(t, 21, get[int64](w, "SELECT count(*) FROM {schema}.ledger WHERE state = 2"))
		})
	}
}

func TestLostAnswersToCommitsOfBatchesChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	p := newProxy(t)
	c := newCopier(w)
	w.run(stream.NewBatch(w.config(), w.deps(p.pool()), c))
	w.publish(deal("lakeshore", "0", 1))
	w.atWatermark(1)
	for n := int64(1); n <= 10; n++ {
		p.set(func() { p.lose, p.early = int(n%2), int((n+1)%2) })
		w.publish(deal("lakeshore", "1", n))
		w.atWatermark(1 + n)
	}
	require.Equal(t, append([]string{"lakeshore/0#1"}, lines("lakeshore/1", 1, 10)...), w.copied())
}
