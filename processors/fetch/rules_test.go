package fetch

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// Rule 18: the token is drawn, and committed, before the call.
func TestReadThatBeganEarlierLosesHoweverLateItEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 7, body: "old"})
	b.hint(t, r)
	called, goOn := make(chan struct{}), make(chan struct{})
	first := true
	b.vendor.fetch = func(_ context.Context, r event.Resource) (event.VendorSnapshot, error) {
		s := b.vendor.get(r).snapshot(r)
		if first {
			first = false
			close(called)
			<-goOn
		}
		return s, nil
	}
	slow := b.takeOne(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.work(t.Context(), slow, tenant.Account{})
	}()
	<-called
	b.vendor.set(r, state{version: 7, body: "new"}) // the vendor's clock did not move
	b.clock.pass(rowLease)
	b.work(t.Context(), b.takeOne(t), tenant.Account{})
	close(goOn)
	<-done
	require.Len(t, b.log.all(), 2)
	b.requireHeld(t, r)
}

func TestTokenIsCommittedBeforeTheCall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	j := b.takeOne(t)
	b.vendor.fetch = func(ctx context.Context, r event.Resource) (event.VendorSnapshot, error) {
		var started, done int64 // over another connection
		sql := `SELECT started, done FROM ` + b.cfg.Schema + `.resource WHERE key = $1`
		require.NoError(t, b.store.pool.QueryRow(ctx, sql, r.Key()).Scan(&started, &done))
		require.Equal(t, j.token, started)
		require.NotEqual(t, started, done)
		return b.vendor.get(r).snapshot(r), nil
	}
	b.work(t.Context(), j, tenant.Account{})
	require.Equal(t, j.token, b.log.all()[0].Token)
}

// Rules 18 and 49: what Postgres drew last and lost is in Kafka; no token after a failover may be below it.
func TestTokenBeginsWithThePostgresTimeline(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	timeline, err := ledger.Open(b.store.pool, b.cfg.Schema).Timeline(t.Context())
	require.NoError(t, err)
	require.NotZero(t, timeline)
	require.EqualValues(t, timeline, b.takeOne(t).token>>40)
}

// Rule 18b.
func TestRecordThatCameByItselfIsTheFactOnlyWhereNothingNewerMayBeKnown(t *testing.T) {
	t.Parallel()
	r := sale("1")
	body := func(version int64, text string) []event.VendorSnapshot {
		return []event.VendorSnapshot{state{version: version, body: text}.snapshot(r)}
	}
	held := state{version: 5, body: "held"}
	for name, c := range map[string]struct {
		before func(t *testing.T, b *bench) // what is known when it comes
		facts  []event.VendorSnapshot
		taken  bool
		hints  int
	}{
		"never seen":            {before: func(*testing.T, *bench) {}, facts: body(1, "new"), taken: true},
		"without a version":     {before: func(*testing.T, *bench) {}, facts: body(0, "new"), hints: 1},
		"higher":                {before: holding(held), facts: body(6, "new"), taken: true},
		"equal, other content":  {before: holding(held), facts: body(5, "delayed"), hints: 1},
		"lower":                 {before: holding(held), facts: body(4, "delayed"), hints: 1},
		"equal, same content":   {before: holding(held), facts: body(5, "held")},
		"gone":                  {before: holding(state{gone: true}), facts: body(6, "delayed"), hints: 1},
		"deletion":              {before: holding(held), facts: []event.VendorSnapshot{{Resource: r, Gone: true}}, hints: 1},
		"a fetch is open":       {before: reading, facts: body(6, "delayed"), hints: 1},
		"a fetch is open, same": {before: reading, facts: body(5, "held"), hints: 1},
		"two at once":           {before: holding(held), facts: append(body(6, "new"), body(7, "newer")...), taken: true, hints: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c.before(t, b)
			in, err := b.begin(t.Context(), c.facts, nil, "test")
			require.NoError(t, err)
			require.Equal(t, c.taken, len(in.begun) == 1)
			require.Len(t, in.hints, c.hints)
			if c.taken {
				require.Positive(t, in.begun[0].Token)
				again, err := b.begin(t.Context(), c.facts, nil, "test") // its taker died
				require.NoError(t, err)
				require.Empty(t, again.begun)
				require.Len(t, again.hints, len(c.facts))
			}
		})
	}
}

// holding makes sale 1 held as s, with no fetch open.
func holding(s state) func(*testing.T, *bench) {
	return func(t *testing.T, b *bench) {
		r := sale("1")
		b.vendor.set(r, state{version: 1, body: "first"})
		b.hint(t, r)
		b.run(t)
		b.vendor.set(r, s)
		b.hint(t, r)
		b.run(t)
		require.Equal(t, StateClean, b.why(t, r).State)
	}
}

// reading makes sale 1 held at version 5 with a fetch in flight.
func reading(t *testing.T, b *bench) {
	holding(state{version: 5, body: "held"})(t, b)
	b.hint(t, sale("1"))
	b.takeOne(t)
}

// Rule 19: a hint joins a fetch that has not started, never one in flight.
func TestHintDuringAReadIsReadAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	b.hint(t, r)
	j := b.takeOne(t)
	s := b.call(t, j)
	b.vendor.set(r, state{version: 2, body: "b"})
	b.hint(t, r)
	require.Equal(t, outcomeEmitted, b.finish(t, j, s))
	require.Equal(t, StateDue, b.why(t, r).State)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	b.requireHeld(t, r)
	require.Equal(t, StateClean, b.why(t, r).State)
	require.Len(t, b.vendor.called(), 2)
}

// Rule 20: only the fetch that started last records.
func TestLateWorkerLeavesRowAndDutyToTheOneThatStartedAfterIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	late := b.takeOne(t)
	s := b.call(t, late)
	b.clock.pass(rowLease)
	b.vendor.set(r, state{version: 2, body: "b"})
	owner := b.takeOne(t)
	require.Equal(t, outcomeOutrun, b.finish(t, late, s))
	require.Equal(t, StateReading, b.why(t, r).State, "the duty is the later fetch's")
	require.Equal(t, outcomeEmitted, b.finish(t, owner, b.call(t, owner)))
	require.EqualValues(t, 2, b.why(t, r).Version)
	b.requireHeld(t, r)
}

func TestRecordThatCameByItselfLeavesRowToTheFetchThatStartedSince(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	in, err := b.begin(t.Context(), []event.VendorSnapshot{state{version: 1, body: "a"}.snapshot(r)}, nil, "test")
	require.NoError(t, err)
	b.vendor.set(r, state{version: 2, body: "b"})
	b.hint(t, r)
	j := b.takeOne(t)
	require.True(t, j.unfinished)
	require.NoError(t, b.Fetch.finish(t.Context(), b.store.pool, in.begun))
	require.Zero(t, b.why(t, r).Version)
	require.Equal(t, outcomeEmitted, b.finish(t, j, b.call(t, j)))
}

// Rule 21: silence about the same content is right only where no answer may still arrive.
func TestSameContentIsEmittedAgainAfterAnUnfinishedFetch(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	b.run(t)
	b.vendor.set(r, state{version: 1, body: "b"})
	b.hint(t, r)
	late := b.takeOne(t)
	lost := b.call(t, late)
	b.vendor.set(r, state{version: 1, body: "a"})
	b.clock.pass(rowLease)

	b.vendor.fetch = func(context.Context, event.Resource) (event.VendorSnapshot, error) {
		return event.VendorSnapshot{}, errors.New("connection refused")
	}
	require.Equal(t, []string{outcomeRetry}, b.run(t), "a fetch that fails does not finish the one before it")
	b.vendor.fetch = nil
	b.clock.pass(retryMax)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	require.Equal(t, outcomeOutrun, b.finish(t, late, lost))
	b.requireHeld(t, r)

	b.hint(t, r)
	require.Equal(t, []string{outcomeUnchanged}, b.run(t), "and then there is peace")
	require.Len(t, b.log.all(), 3)
}

func TestSettlingTwiceLosesNoHintBetween(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	j := b.takeOne(t)
	end := b.pass(t.Context(), j, b.call(t, j))
	b.settle(t.Context(), j, &end) // written, and its answer lost
	b.hint(t, r)
	b.settle(t.Context(), j, &end)
	require.Equal(t, StateDue, b.why(t, r).State)
	require.Equal(t, []string{outcomeUnchanged}, b.run(t))
	b.settle(t.Context(), j, &end)
	require.Equal(t, outcomeOutrun, end.outcome)
	require.Equal(t, StateClean, b.why(t, r).State)
}

func TestUnknownPublishLeavesTheFetchOpen(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 1, body: "a"})
	b.hint(t, r)
	b.run(t)
	b.hint(t, r)
	b.vendor.set(r, state{version: 1, body: "b"})
	var late *event.VendorSnapshot
	b.log.before = func(s *event.VendorSnapshot) error {
		late = s
		return context.DeadlineExceeded
	}
	require.Equal(t, []string{outcomeRetry}, b.run(t))
	b.log.before = nil
	b.vendor.set(r, state{version: 1, body: "a"})
	b.clock.pass(retryMax)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	require.NoError(t, b.log.Publish(t.Context(), out(late)))
	b.requireHeld(t, r)
}

func TestDeletionIsATombstoneThatLateAnswersDoNotUndo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 3, body: "a"})
	b.hint(t, r)
	b.run(t)
	b.hint(t, r)
	late := b.takeOne(t)
	alive := b.call(t, late)
	b.vendor.set(r, state{gone: true, version: 4})
	b.clock.pass(rowLease)
	require.Equal(t, []string{outcomeGone}, b.run(t))
	require.Equal(t, outcomeOutrun, b.finish(t, late, alive))
	b.requireHeld(t, r)
	b.hint(t, r)
	require.Equal(t, []string{outcomeUnchanged}, b.run(t))

	b.vendor.set(r, state{version: 1, body: "restored"}) // lower than before: a deletion has no version
	b.hint(t, r)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	b.requireHeld(t, r)
}

// W10: a 404 for a record that was just made may be a replica that has not heard of it.
func TestMissingRecordThatIsNewIsAskedForForFiveMinutes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.hint(t, sale("late"), sale("never"))
	began := b.clock.now()
	for range askedMax {
		for _, o := range b.run(t) {
			require.Equal(t, outcomeStale, o)
		}
		b.clock.pass(b.why(t, sale("never")).NextTry.Sub(b.clock.now()))
	}
	require.Equal(t, 5*time.Minute, b.clock.now().Sub(began))
	b.vendor.set(sale("late"), state{version: 1, body: "a"})
	require.ElementsMatch(t, []string{outcomeEmitted, outcomeGone}, b.run(t))
	b.requireHeld(t, sale("late"))
	b.requireHeld(t, sale("never"))
}

// W12: an answer older than what is known is asked for again, and never emitted as newer.
func TestOlderAnswersAreAskedAgainFiveTimesAndCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 5, body: "held"})
	b.hint(t, r)
	b.run(t)
	b.vendor.set(r, state{version: 4, body: "replica"})
	b.hint(t, r)
	for range askedMax {
		require.Equal(t, []string{outcomeStale}, b.run(t))
		w := b.why(t, r)
		require.Equal(t, causeOlder, w.Cause)
		b.clock.pass(w.NextTry.Sub(b.clock.now()))
	}
	require.Equal(t, []string{outcomeStale}, b.run(t))
	require.Equal(t, StateClean, b.why(t, r).State)
	require.Len(t, b.log.all(), 1)
	require.InDelta(t, askedMax+1, counter(t, b, "conveyance_fetch_stale_total"), 0)
}

func TestAnswerBelowTheHintedVersionIsEmittedAndAskedForAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.vendor.set(r, state{version: 5, body: "replica"})
	require.NoError(t, b.store.mark(t.Context(), b.store.pool, []hint{{resource: r, lane: live, wanted: 6}}, b.clock.now()))
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	require.Equal(t, StateWaiting, b.why(t, r).State)
	b.clock.pass(askAgain(0))
	require.Equal(t, []string{outcomeStale}, b.run(t))
	b.clock.pass(askAgain(1))
	b.vendor.set(r, state{version: 6, body: "master"})
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	b.requireHeld(t, r)
	require.Equal(t, StateClean, b.why(t, r).State)
}

func TestAnswerAboutAnotherRecordIsParked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.hint(t, sale("1"))
	b.vendor.fetch = func(context.Context, event.Resource) (event.VendorSnapshot, error) {
		return state{version: 1, body: "a"}.snapshot(saleOf("redrock", "1")), nil
	}
	require.Equal(t, []string{outcomePark}, b.run(t))
	require.Empty(t, b.log.all())
}

func TestVerdictsOfTheVendorBecomeTheRowsFate(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 3, 2, 9, 7, 0, 0, time.UTC)
	scope := verdict.AccountScope("lakeshore", "acme", "main")
	for name, c := range map[string]struct {
		err     error
		outcome string
		state   string
		cause   string
		in      time.Duration // the next try
	}{
		"unmarked":  {errors.New("connection reset"), outcomeRetry, StateWaiting, "unmarked", 500 * time.Millisecond},
		"retry":     {verdict.RetryAfter(time.Minute, "vendor answered 503", nil), outcomeRetry, StateWaiting, "vendor answered 503", time.Minute},
		"doubt":     {verdict.Doubtful("no answer", nil), outcomeRetry, StateWaiting, "no answer", 500 * time.Millisecond},
		"account":   {verdict.Held(scope, until, "account refused", nil), outcomeHold, StateHeld, "account refused", 7 * time.Minute},
		"no time":   {verdict.Held(scope, time.Time{}, "account refused", nil), outcomeHold, StateHeld, "account refused", holdFor},
		"key":       {verdict.Held(verdict.ScopeKey, until, "being edited", nil), outcomeHold, StateWaiting, "being edited", 7 * time.Minute},
		"park":      {verdict.Parked("vendor refused 400", nil), outcomePark, StateParked, "vendor refused 400", 0},
		"stall":     {verdict.Stalled("vendor acme is down", nil), outcomeStall, StateWaiting, "vendor acme is down", stallFor},
		"skip":      {verdict.Skipped("a template"), outcomeSkipped, StateClean, "", 0},
		"too large": {nil, outcomePark, StateParked, "snapshot too large", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			r := sale("1")
			b.hint(t, r)
			b.vendor.fetch = func(_ context.Context, r event.Resource) (event.VendorSnapshot, error) {
				if c.err == nil {
					return state{version: 1, body: string(make([]byte, 4<<20+1))}.snapshot(r), nil
				}
				return event.VendorSnapshot{}, c.err
			}
			require.Equal(t, []string{c.outcome}, b.run(t))
			w := b.why(t, r)
			require.Equal(t, c.state, w.State)
			require.Equal(t, c.cause, w.Cause)
			if c.in > 0 {
				require.Equal(t, c.in, w.NextTry.Sub(b.clock.now()))
			} else {
				require.Nil(t, w.NextTry)
			}
			in, err := b.begin(t.Context(), []event.VendorSnapshot{state{version: 9, body: "z"}.snapshot(r)}, nil, "test")
			require.NoError(t, err)
			require.Len(t, in.begun, 1, "a fetch that failed at the vendor is finished")
		})
	}
}
