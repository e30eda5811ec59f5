package fetch

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const quarter = 15 * time.Minute

// rule gives the vendor of the tests a least time between two reads of one record.
func rule(b *bench, again time.Duration) {
	v := b.vendors["acme"]
	v.Again = again
	b.vendors["acme"] = v
}

func TestHintWithinTheVendorsRuleWaitsForItAndIsNotLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule(b, quarter)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	for range 20 {
		b.hint(t, r)
	}
	require.Equal(t, []string{outcomeEmitted}, b.run(t), "twenty hints are one call")
	require.Equal(t, StateClean, b.why(t, r).State)

	b.clock.pass(time.Minute)
	b.vendor.set(r, state{version: 2, body: "b"})
	b.hint(t, r)
	b.hint(t, r)
	require.Empty(t, b.run(t))
	w := b.why(t, r)
	require.Equal(t, StateWaiting, w.State)
	require.Equal(t, "vendor's polling rule", w.Cause)
	require.Equal(t, quarter-time.Minute, w.NextTry.Sub(b.clock.now()))
	require.Zero(t, w.Attempts)

	b.clock.pass(quarter - time.Minute)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	b.requireHeld(t, r)
	require.Equal(t, StateClean, b.why(t, r).State)
	require.Empty(t, b.why(t, r).Cause)
	require.Len(t, b.vendor.called(), 2)

	b.clock.pass(quarter)
	b.hint(t, r)
	require.Equal(t, StateDue, b.why(t, r).State, "after the time it waits for nothing")
}

func TestHintDuringAReadWaitsForTheVendorsRule(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule(b, quarter)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	j := b.takeOne(t)
	s := b.call(t, j)
	b.clock.pass(10 * time.Second) // the call is slow
	b.vendor.set(r, state{version: 2, body: "b"})
	b.hint(t, r)
	require.Equal(t, outcomeEmitted, b.finish(t, j, s))
	w := b.why(t, r)
	require.Equal(t, StateWaiting, w.State)
	require.Equal(t, causeAgain, w.Cause)
	require.Equal(t, quarter, w.NextTry.Sub(b.clock.now()), "from the end of the call")
	b.clock.pass(quarter)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	b.requireHeld(t, r)
}

func TestRecordWithItsWebhookIsTheFactWhileAHintWaitsForTheRule(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule(b, quarter)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	b.run(t)
	b.hint(t, r)
	in, err := b.begin(t.Context(), []event.VendorSnapshot{state{version: 2, body: "b"}.snapshot(r)}, nil, "test")
	require.NoError(t, err)
	require.Len(t, in.begun, 1)
	require.NoError(t, b.publish.Publish(t.Context(), out(in.begun[0])))
	require.NoError(t, b.Fetch.finish(t.Context(), b.store.pool, in.begun))
	require.EqualValues(t, 2, b.why(t, r).Version)
	require.Equal(t, StateWaiting, b.why(t, r).State)
}

func TestRowOfADeadWorkerWaitsForTheRuleAfterItsLease(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule(b, quarter)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	b.call(t, b.takeOne(t)) // and it dies
	b.clock.pass(rowLease)
	require.Empty(t, b.run(t))
	b.clock.pass(quarter)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
}

func TestWhatFailsCountsAsACallUnlessNothingWasAsked(t *testing.T) {
	t.Parallel()
	scope := verdict.AccountScope("lakeshore", "acme", "main")
	for name, c := range map[string]struct {
		err  error
		wait time.Duration
	}{
		"a broken answer":     {verdict.RetryAfter(0, "vendor answer unreadable", nil), quarter},
		"no connection":       {verdict.RetryAfter(0, causeUnreachable, nil), 500 * time.Millisecond},
		"budget spent":        {verdict.Held(scope, time.Date(2026, 3, 2, 9, 1, 0, 0, time.UTC), "budget spent", nil), time.Minute},
		"vendor down for all": {verdict.Stalled("vendor acme is down", nil), stallFor},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			rule(b, quarter)
			r := sale("1")
			b.hint(t, r)
			b.vendor.fetch = func(context.Context, event.Resource) (event.VendorSnapshot, error) {
				return event.VendorSnapshot{}, c.err
			}
			b.run(t)
			require.Equal(t, c.wait, b.why(t, r).NextTry.Sub(b.clock.now()))
		})
	}
}

func TestNobodyMakesTheVendorsRuleShorter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule(b, quarter)
	r := sale("1")
	b.hint(t, r)
	b.vendor.fetch = func(context.Context, event.Resource) (event.VendorSnapshot, error) {
		return event.VendorSnapshot{}, verdict.Parked("contract broken: /status", nil)
	}
	require.Equal(t, []string{outcomePark}, b.run(t))
	b.clock.pass(time.Minute)
	n, err := b.desk.Release(t.Context(), Filter{Resource: r.Key()}, "test")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	w := b.why(t, r)
	require.Equal(t, causeAgain, w.Cause)
	require.Equal(t, quarter-time.Minute, w.NextTry.Sub(b.clock.now()))
	n, err = b.desk.Release(t.Context(), Filter{Resource: r.Key()}, "test")
	require.NoError(t, err)
	require.Zero(t, n, "it waits for the vendor alone")
	b.clock.pass(quarter)
	b.vendor.fetch = nil
	b.vendor.set(r, state{version: 1, body: "a"})
	b.work(t.Context(), b.takeOne(t), tenant.Account{})
	b.requireHeld(t, r)
}
