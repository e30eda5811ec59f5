package fetch

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/stream/streamtest"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

// come lets the intake handle a batch, puts what it emits on the topic, and returns that.
func (b *bench) come(t *testing.T, records ...*stream.Record) []event.VendorSnapshot {
	t.Helper()
	var snaps []event.VendorSnapshot
	for _, o := range streamtest.Outs(streamtest.MustHandle(t, b.Intake(), b.store.pool, records...)) {
		require.NoError(t, b.log.Publish(t.Context(), o))
		snaps = append(snaps, *o.Message.(*event.VendorSnapshot))
	}
	return snaps
}

// signed is the webhook of a state of sale 1: the record without its rest.
func signed(t *testing.T, offset int64, s state) *stream.Record {
	t.Helper()
	return deliver(t, offset, delivery{IDs: []string{"1"}, Version: s.version, Partial: s.body})
}

func corrected(t *testing.T, offset int64) *stream.Record {
	t.Helper()
	return deliver(t, offset, delivery{IDs: []string{"1"}})
}

func (b *bench) keptOf(t testing.TB, r event.Resource) string {
	t.Helper()
	var kept []byte
	sql := postgres.In(b.cfg.Schema, `SELECT kept FROM {schema}.resource WHERE key = $1`)
	require.NoError(t, b.store.pool.QueryRow(t.Context(), sql, r.Key()).Scan(&kept))
	return string(kept)
}

// oneRead is a bench under the vendor's rule in which the first signature's webhook had sale 1 read.
func oneRead(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	rule(b, quarter)
	first := state{version: 1, body: "one signed", rest: "documents"}
	b.vendor.set(sale("1"), first)
	require.Empty(t, b.come(t, signed(t, 1, first)), "nothing is kept yet")
	require.Equal(t, "webhook", b.why(t, sale("1")).HintedBy)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	b.requireHeld(t, sale("1"))
	require.Equal(t, "documents", b.keptOf(t, sale("1")))
	return b
}

func second() state { return state{version: 2, body: "two signed", rest: "documents"} }

func TestSecondSignatureNeedsNoRead(t *testing.T) {
	t.Parallel()
	b := oneRead(t)
	b.vendor.set(sale("1"), second())
	d := signed(t, 2, second())
	snaps := b.come(t, d)
	require.Len(t, snaps, 1)
	require.Positive(t, snaps[0].Token)
	require.Equal(t, "live", snaps[0].Lane)
	require.Equal(t, d.Message.(*event.WebhookReceived).ReceivedAt, snaps[0].ReadAt)
	b.requireHeld(t, sale("1"))
	require.Equal(t, StateClean, b.why(t, sale("1")).State)
	require.EqualValues(t, 2, b.why(t, sale("1")).Version)
	require.Equal(t, "documents", b.keptOf(t, sale("1")), "it is kept on")

	third := state{version: 3, body: "three signed", rest: "documents"}
	b.vendor.set(sale("1"), third)
	require.Len(t, b.come(t, signed(t, 3, third)), 1)
	b.requireHeld(t, sale("1"))
	require.Len(t, b.vendor.called(), 1, "one read for three signatures")

	require.Empty(t, b.come(t, signed(t, 3, third)), "the vendor sent it twice")
	require.Equal(t, StateClean, b.why(t, sale("1")).State)
	b.hint(t, sale("1"))
	b.clock.pass(quarter)
	require.Equal(t, []string{outcomeUnchanged}, b.run(t), "a read finds nothing else")
}

func TestCorrectionIsReadAndWhatWasKeptBeforeItIsUsedNoMore(t *testing.T) {
	t.Parallel()
	now := state{version: 3, body: "two signed", rest: "other documents"}
	for name, come := range map[string]func(t *testing.T, b *bench) []event.VendorSnapshot{
		"before the signature": func(t *testing.T, b *bench) []event.VendorSnapshot {
			require.Empty(t, b.come(t, corrected(t, 2)))
			return b.come(t, signed(t, 3, now))
		},
		"with it": func(t *testing.T, b *bench) []event.VendorSnapshot {
			return b.come(t, corrected(t, 2), signed(t, 3, now))
		},
		"with it, behind it": func(t *testing.T, b *bench) []event.VendorSnapshot {
			return b.come(t, signed(t, 3, now), corrected(t, 2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := oneRead(t)
			b.vendor.set(sale("1"), now)
			require.Empty(t, come(t, b))
			require.Equal(t, StateWaiting, b.why(t, sale("1")).State)
			b.clock.pass(quarter)
			require.Equal(t, []string{outcomeEmitted}, b.run(t))
			b.requireHeld(t, sale("1"))

			last := state{version: 4, body: "three signed", rest: "other documents"}
			b.vendor.set(sale("1"), last)
			require.Len(t, b.come(t, signed(t, 4, last)), 1, "from then on what the read brought is kept")
			b.requireHeld(t, sale("1"))
			require.Len(t, b.vendor.called(), 2)
		})
	}
}

// The look at what is kept and the start of the fact are two transactions.
func TestHintBetweenCompletionAndStartIsSeen(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(t *testing.T, b *bench){
		"a hint": func(t *testing.T, b *bench) { b.hint(t, sale("1")) },
		"a hint, and its read of an older state": func(t *testing.T, b *bench) {
			b.hint(t, sale("1"))
			b.run(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := oneRead(t)
			whole, seen, lacking, err := b.fill(t.Context(), []delivered{{fact: second().partial(sale("1"))}}, nil)
			require.NoError(t, err)
			require.Empty(t, lacking)
			b.clock.pass(quarter)
			between(t, b)
			in, err := b.begin(t.Context(), []event.VendorSnapshot{whole[0].fact}, seen, "test")
			require.NoError(t, err)
			require.Empty(t, in.begun)
			require.Len(t, in.hints, 1)
		})
	}
}

// A read in flight may have been answered before the correction.
func TestReadThatBeganBeforeACorrectionKeepsNothingForWhatComesAfterIt(t *testing.T) {
	t.Parallel()
	b := oneRead(t)
	b.hint(t, sale("1"))
	b.clock.pass(quarter)
	b.vendor.set(sale("1"), state{version: 2, body: "read", rest: "documents"})
	j := b.takeOne(t)
	s := b.call(t, j)
	require.Empty(t, b.come(t, corrected(t, 2)))
	require.Equal(t, outcomeEmitted, b.finish(t, j, s))
	require.Equal(t, "documents", b.keptOf(t, sale("1")))
	require.Empty(t, b.come(t, signed(t, 3, state{version: 4, body: "two signed"})))
	b.vendor.set(sale("1"), state{version: 4, body: "two signed", rest: "other documents"})
	b.clock.pass(quarter)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	b.requireHeld(t, sale("1"))
}

func TestWebhookThatCannotBeCompletedIsAHint(t *testing.T) {
	t.Parallel()
	unkept := func(kept any) func(t *testing.T, b *bench) {
		return func(t *testing.T, b *bench) {
			_, err := b.store.pool.Exec(t.Context(), postgres.In(b.cfg.Schema, `UPDATE {schema}.resource SET kept = $1`), kept)
			require.NoError(t, err)
		}
	}
	for name, before := range map[string]func(t *testing.T, b *bench){
		"what was kept is lost": unkept(nil),
		"it does not fit":       unkept([]byte("unfit")),
		"a vendor without a completer": func(_ *testing.T, b *bench) {
			v := b.vendors["acme"]
			v.Completer = nil
			b.vendors["acme"] = v
		},
		"a read is in flight": func(t *testing.T, b *bench) {
			b.hint(t, sale("1"))
			b.clock.pass(quarter)
			b.takeOne(t)
		},
		"a fetch was left unfinished": func(t *testing.T, b *bench) {
			in, err := b.begin(t.Context(), []event.VendorSnapshot{state{version: 2, body: "lost"}.snapshot(sale("1"))}, nil, "test")
			require.NoError(t, err)
			require.Len(t, in.begun, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := oneRead(t)
			before(t, b)
			now := state{version: 3, body: "two signed", rest: "documents"}
			b.vendor.set(sale("1"), now)
			require.Empty(t, b.come(t, signed(t, 2, now)))
			require.NotEqual(t, StateClean, b.why(t, sale("1")).State)
			b.clock.pass(rowLease + quarter)
			require.Equal(t, []string{outcomeEmitted}, b.run(t))
			b.requireHeld(t, sale("1"))
		})
	}
}

func TestCompletedWebhookOfALowerVersionNeverWins(t *testing.T) {
	t.Parallel()
	b := oneRead(t)
	b.vendor.set(sale("1"), second())
	require.Len(t, b.come(t, signed(t, 2, second())), 1)
	require.Empty(t, b.come(t, signed(t, 1, state{version: 1, body: "one signed"})), "late")
	require.Empty(t, b.come(t, signed(t, 3, state{version: 2, body: "another"})), "equal, other content")
	b.requireHeld(t, sale("1"))
	require.Equal(t, StateWaiting, b.why(t, sale("1")).State)
}

func TestKeptIsAPartOfWhatIsHeld(t *testing.T) {
	t.Parallel()
	r := sale("1")
	for name, c := range map[string]struct {
		now  state
		kept string
	}{
		"another rest":    {state{version: 2, body: "b", rest: "other"}, "other"},
		"none":            {state{version: 2, body: "b"}, ""},
		"gone":            {state{gone: true}, ""},
		"too large":       {state{version: 2, body: "b", rest: strings.Repeat("x", keptBytesMax+1)}, ""},
		"as much as may":  {state{version: 2, body: "b", rest: strings.Repeat("x", keptBytesMax)}, strings.Repeat("x", keptBytesMax)},
		"an older answer": {state{version: 0, body: "b", rest: "older"}, "documents"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := oneRead(t)
			b.vendor.set(r, c.now)
			b.hint(t, r)
			b.clock.pass(quarter)
			b.run(t)
			require.Equal(t, c.kept, b.keptOf(t, r))
		})
	}
}

// Rule 20 holds for what is kept, too.
func TestLateWorkerKeepsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a", rest: "before"})
	b.hint(t, r)
	late := b.takeOne(t)
	s := b.call(t, late)
	b.clock.pass(rowLease)
	b.vendor.set(r, state{version: 1, body: "a", rest: "after"})
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	require.Equal(t, outcomeOutrun, b.finish(t, late, s))
	require.Equal(t, "after", b.keptOf(t, r))
}

func TestWhatAListHoldsIsKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := state{version: 1, body: "one signed", rest: "documents"}
	s := &sink{f: b.Fetch, who: accountOf(sale("1")), lane: live}
	fact := first.snapshot(sale("1"))
	require.NoError(t, s.yield(t.Context(), producers.Change{Resource: sale("1"), Version: 1, Fact: &fact}))
	require.NoError(t, s.flush(t.Context()))
	b.vendor.set(sale("1"), second())
	require.Len(t, b.come(t, signed(t, 1, second())), 1)
	b.requireHeld(t, sale("1"))
	require.Empty(t, b.vendor.called())
}

func TestCompletedWebhookWhoseBatchDiedIsRead(t *testing.T) {
	t.Parallel()
	b := oneRead(t)
	b.vendor.set(sale("1"), second())
	d := signed(t, 2, second())
	dead := stream.NewBatchOf(d.Topic, d.Partition, d)
	require.NoError(t, b.Intake().Handle(t.Context(), dead)) // produced or not, never committed
	require.Len(t, streamtest.Outs(dead), 1)
	require.Empty(t, b.come(t, d))
	b.clock.pass(quarter)
	b.work(t.Context(), b.takeOne(t), tenant.Account{})
	b.requireHeld(t, sale("1"))
}

func TestPartialRecordIsNeverPublishedAsItCame(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.vendor.fetch = func(context.Context, event.Resource) (event.VendorSnapshot, error) {
		return event.VendorSnapshot{}, context.DeadlineExceeded
	}
	for i := range int64(3) {
		require.Empty(t, b.come(t, signed(t, i, state{version: i + 1, body: "signed"})))
	}
	b.run(t)
	require.Empty(t, b.log.all())
	require.InDelta(t, 3, counter(t, b, "conveyance_fetch_facts_total"), 0)
}
