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
	"conveyance/internal/testkit"
	"conveyance/internal/verdict"
)

// takeover starts a second owner of the same tables that the first one's Kafka group knows nothing
// of, as after a pause longer than the session.
func (w *world) takeover(h stream.KeyedHandler) *running {
	w.t.Helper()
	cfg := w.config()
	cfg.Group = "successor"
	return w.run(stream.NewKeyed(cfg, w.deps(w.pool), h))
}

// zombie is an owner whose Postgres is frozen during its first call; another one takes over
// meanwhile, and then the first one wakes.
func zombie(t *testing.T, class ledger.Class, verbs ...string) (w *world, old, next *vendor, wake func()) {
	w = newWorld(t, 1)
	p := newProxy(t)
	called, answer := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	old = &vendor{
		class: class,
		verbs: verbs,
		apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
			if first.CompareAndSwap(false, true) {
				close(called)
				<-answer
			}
			return ledger.Receipt{}, nil
		},
	}
	cfg := w.config()
	cfg.CallDeadline, cfg.DrainTimeout = time.Minute, time.Second
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "1", 2))
	zombie := w.run(stream.NewKeyed(cfg, w.deps(p.pool()), old))
	<-called
	p.freeze()
	next = &vendor{class: class, verbs: verbs}
	successor := w.takeover(next)
	return w, old, next, func() {
		began := time.Now() // the token must have been seen longer ago than a call may rest on
		w.eventually("an old look", func() bool { return time.Since(began) > 1100*time.Millisecond })
		close(answer)
		go zombie.stop() // so that it does not claim back what it lost
		p.thaw()
		zombie.stop()
		successor.stop()
	}
}

// Rules 28 and 32: an owner that was taken over makes no further call, and leaves evidence of the
// one that it had made.
func TestZombieMakesNoFurtherCallAndLeavesEvidence(t *testing.T) {
	t.Parallel()
	w, old, next, wake := zombie(t, ledger.ClassD, "a", "b")
	w.eventually("the successor asks a person", func() bool {
		return get[int64](w, "SELECT count(*) FROM {schema}.queued_key WHERE cause = 'outcome unknown'") == 1
	})
	wake()
	require.Equal(t, []string{"lakeshore/1#1:a"}, old.called())
	require.Empty(t, next.called())
	w.eventually("evidence", func() bool { return get[int64](w, "SELECT count(*) FROM {schema}.call_evidence") >= 1 })
	require.Equal(t, "lakeshore/1#1:a=5", w.states(), "the late flush wrote nothing (rule 5)")
	require.EqualValues(t, 2, w.watermark())
}

// Class B under a zombie: its claimed effects are not called after the look at the token fails.
func TestZombieDoesNotWorkThroughItsClaims(t *testing.T) {
	t.Parallel()
	w, old, next, wake := zombie(t, ledger.ClassB, "a", "b", "c")
	w.atWatermark(2)
	wake()
	require.Equal(t, []string{"lakeshore/1#1:a"}, old.called())
	require.Len(t, next.called(), 6)
	require.EqualValues(t, 6, get[int64](w, "SELECT count(*) FROM {schema}.ledger WHERE state = 2"))
}

// Rule 5: what an owner parks after it was taken over is not parked.
func TestLateFlushOfAFencedBatchOwnerWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	p := newProxy(t)
	old := newCopier(w)
	handled := make(chan struct{})
	var once atomic.Bool
	old.on = func(*stream.Batch, int, *stream.Record) error {
		if once.CompareAndSwap(false, true) {
			p.freeze()
			close(handled)
		}
		return verdict.Parked("by the zombie", nil)
	}
	w.publish(deal("lakeshore", "1", 1))
	zombie := w.run(stream.NewBatch(w.config(), w.deps(p.pool()), old))
	<-handled
	cfg := w.config()
	cfg.Group = "successor"
	next := &copier{w: w}
	w.run(stream.NewBatch(cfg, w.deps(w.pool), next))
	w.atWatermark(1)
	w.publish(deal("lakeshore", "1", 2))
	w.atWatermark(2)
	go zombie.stop()
	p.thaw()
	zombie.stop()
	require.Equal(t, lines("lakeshore/1", 1, 2), w.copied())
	require.Zero(t, get[int64](w, "SELECT count(*) FROM {schema}.queued_key"))
	require.EqualValues(t, 2, w.watermark())
}

// An owner that lost its token claims anew, with nothing of what it remembered (rules 2 and 5).
func TestFencedOwnerClaimsAnewAndRemembersNothing(t *testing.T) {
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
	r := w.keyed(v)
	w.publish(deal("lakeshore", "1", 1))
	w.atWatermark(1)
	mended.Store(true)
	// Another owner ended the key's queue meanwhile.
	w.exec("DELETE FROM {schema}.queued_key")
	w.exec("UPDATE {schema}.queued_record SET state = 2")
	w.exec("UPDATE {schema}.ledger SET state = 2")
	before := get[int64](w, "SELECT epoch FROM {schema}.consumer_offsets")
	require.NoError(t, ledger.Rewind(t.Context(), w.pool, w.schema, ledger.Place{Topic: topic.Deals}, 0, "ops", "test"))
	w.eventually(
		"a new claim",
		func() bool { return get[int64](w, "SELECT epoch FROM {schema}.consumer_offsets") > before+1 },
	)
	w.publish(deal("lakeshore", "1", 2))
	w.atWatermark(2)
	w.eventually("applied live", func() bool { return len(v.done()) == 1 })
	require.Equal(t, []string{"lakeshore/1#2"}, v.done())
	require.NoError(t, r.Ready())
}

// Rule 3: a key with a call under way in another lane waits until that is resolved.
func TestKeyWithAForeignCallUnderWayWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{class: ledger.ClassB}
	d := deal("lakeshore", "1", 5)
	w.exec(
		"INSERT INTO {schema}.consumer_offsets (topic, part, next_offset, owner) " +
			"VALUES ('deals.v1', 0, 1, gen_random_uuid())",
	)
	w.exec(`INSERT INTO {schema}.ledger (eid, step, pos, part, state, owner, topic, key_id, claimed_at)
		VALUES (gen_random_uuid(), 1, 0, 0, 1, gen_random_uuid(), 'deals.v1', $1, now())`, d.Deal.DealKey)
	w.publish(deal("lakeshore", "9", 1), d, deal("lakeshore", "2", 1))
	w.keyed(v)
	w.eventually("the other key", func() bool { return len(v.called()) == 1 })
	w.eventually("a look at the lanes", func() bool { // two pulses
		return get[int64](
			w,
			"SELECT count(*) FROM {schema}.consumer_offsets WHERE claimed_at < now() - interval '2 s'",
		) == 1
	})
	require.Equal(t, []string{"lakeshore/2#1"}, v.called())
	w.exec("UPDATE {schema}.ledger SET state = 2 WHERE step = 1")
	w.atWatermark(3)
	require.Equal(t, []string{"lakeshore/2#1", "lakeshore/1#5"}, v.called())
}

func TestTwoMembersShareThePartitionsAndLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	v := &vendor{class: ledger.ClassD}
	first := w.keyed(v)
	for n := int64(1); n <= 30; n++ {
		w.publish(deal("lakeshore", "1", n), deal("lakeshore", "2", n), deal("lakeshore", "3", n))
		if n == 10 {
			w.keyed(v)
		}
		if n == 20 {
			first.stop()
		}
	}
	w.atWatermark(90)
	for _, id := range []string{"lakeshore/1", "lakeshore/2", "lakeshore/3"} {
		require.Equal(t, lines(id, 1, 30), of(v.done(), id))
	}
}

func TestSecondProcessOfAStaticMemberEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.InstanceID = "one"
	start := func() chan error {
		e, err := stream.NewKeyed(cfg, w.deps(w.pool), &vendor{class: ledger.ClassB})
		require.NoError(t, err)
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		go func() { ended <- e.Run(ctx) }()
		t.Cleanup(cancel)
		require.Eventually(t, func() bool { return e.Ready() == nil }, testkit.Patience, testkit.Look)
		return ended
	}
	first := start()
	start()
	select {
	case err := <-first:
		require.ErrorContains(t, err, "another process has instance id one")
	case <-time.After(testkit.Patience):
		require.Fail(t, "the loser goes on")
	}
}
