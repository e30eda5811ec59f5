package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

// list is what a poll of the tests answers: changes, then a cursor or a failure.
type list struct {
	changes []producers.Change
	cursor  string
	err     error
}

func (b *bench) lists(since *[]string, lists ...list) {
	n := 0
	b.vendor.poll = func(
		_ context.Context, _ tenant.Account, at producers.Cursor, yield func(producers.Change) error,
	) (producers.Cursor, error) {
		*since = append(*since, string(at))
		l := lists[min(n, len(lists)-1)]
		n++
		for _, c := range l.changes {
			if err := yield(c); err != nil {
				return nil, err
			}
		}
		return producers.Cursor(l.cursor), l.err
	}
}

func whole(r event.Resource, s state) producers.Change {
	snap := s.snapshot(r)
	return producers.Change{Resource: r, Version: s.version, Fact: &snap}
}

// pollNow leases what is due and polls it, as Run does.
func (b *bench) pollNow(t *testing.T) int {
	t.Helper()
	due, err := b.Pollers().due(t.Context())
	require.NoError(t, err)
	for _, d := range due {
		b.poll(t.Context(), d.lease, d.with)
	}
	return len(due)
}

func (b *bench) pollRow(t *testing.T) (cursor string, due *time.Time, cause string) {
	t.Helper()
	sql := postgres.In(b.cfg.Schema, `SELECT COALESCE(cursor::text, ''), due, cause FROM {schema}.poll WHERE tenant = 'lakeshore'`)
	require.NoError(t, b.store.pool.QueryRow(t.Context(), sql).Scan(&cursor, &due, &cause))
	return cursor, due, cause
}

func TestRecordsOfAListArePublishedAsTheyCameAndNamesAreRead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var since []string
	b.lists(&since,
		list{changes: []producers.Change{whole(sale("1"), state{version: 1, body: "a"}), {Resource: sale("2"), Version: 4}}, cursor: `{"at": 1}`},
		list{changes: []producers.Change{whole(sale("1"), state{version: 1, body: "a"}), whole(sale("3"), state{version: 1, body: "c"})}, cursor: `{"at": 2}`},
	)
	require.Equal(t, 1, b.pollNow(t))
	require.Zero(t, b.pollNow(t), "it is polled at its interval")
	log := b.log.all()
	require.Len(t, log, 1)
	require.Equal(t, "backfill", log[0].Lane, "the first sight of an account is not news")
	require.Positive(t, log[0].Token)
	require.Equal(t, StateClean, b.why(t, sale("1")).State)
	require.Equal(t, StateDue, b.why(t, sale("2")).State)
	require.Equal(t, "backfill", b.why(t, sale("2")).Lane)

	b.clock.pass(time.Minute)
	require.Equal(t, 1, b.pollNow(t))
	log = b.log.all()
	require.Len(t, log, 2, "what the overlap lists again is no news")
	require.Equal(t, "live", log[1].Lane)
	require.Equal(t, []string{"", `{"at": 1}`}, since)
	cursor, due, _ := b.pollRow(t)
	require.Equal(t, `{"at": 2}`, cursor)
	require.Equal(t, time.Minute, due.Sub(b.clock.now()))
	require.Empty(t, b.vendor.called())
}

func TestCursorStaysUntilAllIsAcknowledged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var since []string
	b.lists(&since, list{changes: []producers.Change{whole(sale("1"), state{version: 1, body: "a"})}, cursor: `{"at": 1}`})
	b.log.before = func(*event.VendorSnapshot) error { return context.DeadlineExceeded }
	b.pollNow(t)
	cursor, _, cause := b.pollRow(t)
	require.Empty(t, cursor)
	require.NotEmpty(t, cause)
	b.log.before = nil
	b.clock.pass(retryMax)
	b.pollNow(t)
	require.Equal(t, StateDue, b.why(t, sale("1")).State, "its fate is unknown, so it is read")
	cursor, _, _ = b.pollRow(t)
	require.Equal(t, `{"at": 1}`, cursor)
}

func TestLongListsAreBatched(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var changes []producers.Change
	for _, r := range many("lakeshore", 5*chunkRecords/2) {
		changes = append(changes, whole(r, state{version: 1, body: "a"}))
	}
	counted := &counting{Publisher: b.log}
	b.publish = counted
	var since []string
	b.lists(&since, list{changes: changes, cursor: `{}`})
	b.pollNow(t)
	require.Len(t, b.log.all(), len(changes))
	require.EqualValues(t, 3, counted.n.Load())
}

func TestListThatFitsNoTopicParksOnlyTheRecordThatDoesNot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.vendor.fetch = alive
	b.log.before = func(s *event.VendorSnapshot) error {
		if s.Resource.ID == "bad" {
			return verdict.Parked("unencodable", errors.New("text is not UTF-8"))
		}
		return nil
	}
	var since []string
	b.lists(&since, list{cursor: `{}`, changes: []producers.Change{
		whole(sale("bad"), state{version: 1, body: "a"}), whole(sale("good"), state{version: 1, body: "a"}),
	}})
	b.pollNow(t)
	cursor, _, _ := b.pollRow(t)
	require.Equal(t, `{}`, cursor)
	require.ElementsMatch(t, []string{outcomeEmitted, outcomePark}, b.run(t))
	require.Equal(t, StateParked, b.why(t, sale("bad")).State)
	require.Equal(t, StateClean, b.why(t, sale("good")).State)
}

func TestAccountHasOnePollerAndAZombieMovesNoCursor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	one, two := b.Pollers(), b.Pollers()
	first, err := one.due(t.Context())
	require.NoError(t, err)
	require.Len(t, first, 1)
	none, err := two.due(t.Context())
	require.NoError(t, err)
	require.Empty(t, none)
	b.clock.pass(pollLease / 2)
	require.NoError(t, b.extend(t.Context(), first[0].lease))
	b.clock.pass(pollLease / 2)
	none, err = two.due(t.Context())
	require.NoError(t, err)
	require.Empty(t, none, "its lease is renewed")

	b.clock.pass(pollLease)
	second, err := two.due(t.Context())
	require.NoError(t, err)
	require.Len(t, second, 1)
	require.ErrorIs(t, b.extend(t.Context(), first[0].lease), errLeaseLost)
	require.ErrorIs(t, b.moved(t.Context(), first[0].lease, producers.Cursor(`{"at": 9}`), b.clock.now()), errLeaseLost)
	outcome, _ := b.notPolled(t.Context(), first[0].lease, errors.New("connection reset"))
	require.Equal(t, outcomeRetry, outcome)
	none, err = one.due(t.Context())
	require.NoError(t, err)
	require.Empty(t, none, "nor does it end the other's lease")
	require.NoError(t, b.moved(t.Context(), second[0].lease, producers.Cursor(`{"at": 1}`), b.clock.now()))
	cursor, _, _ := b.pollRow(t)
	require.Equal(t, `{"at": 1}`, cursor)
}

func TestTwoProcessesPollAnAccountOneAtATime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	v := b.vendors["acme"]
	v.PollEvery = pollLease / 2
	b.vendors["acme"] = v
	var now, most, polls atomic.Int64
	b.vendor.poll = func(
		context.Context, tenant.Account, producers.Cursor, func(producers.Change) error,
	) (producers.Cursor, error) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		b.clock.pass(pollLease - time.Second)
		polls.Add(1)
		return producers.Cursor(`{}`), nil
	}
	running(t, b.Pollers().Run)
	running(t, b.Pollers().Run)
	b.eventually(t, func() bool { return polls.Load() >= 3 })
	require.EqualValues(t, 1, most.Load())
}

func TestNewAccountsArePolledAndPausedOnesAreNot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tenants.add("lakeshore", func(t *tenant.Tenant) { t.Paused = true })
	var since []string
	b.lists(&since, list{cursor: `{}`})
	require.Zero(t, b.pollNow(t))
	b.tenants.add("redrock", nil)
	require.Equal(t, 1, b.pollNow(t))
	b.tenants.add("lakeshore", nil)
	require.Equal(t, 1, b.pollNow(t))
	require.Less(t, pollLook+tenant.RefreshAfter, 5*time.Second)
}

func TestFirstSightsLeaveHandsForWhatIsLive(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.Polls = 4 })
	var since []string
	b.lists(&since, list{cursor: `{}`})
	b.pollNow(t) // lakeshore is known
	for i := range 10 {
		b.tenants.add(fmt.Sprintf("new%d", i), nil)
	}
	b.clock.pass(time.Minute)
	p := b.Pollers()
	due, err := p.due(t.Context())
	require.NoError(t, err)
	require.Len(t, due, 3)
	require.Equal(t, "lakeshore", due[0].tenant)
	for _, d := range due {
		p.hand(d.lease, 1)
	}
	more, err := p.due(t.Context())
	require.NoError(t, err)
	require.Empty(t, more)
}

func TestFailedPollWaitsByVerdict(t *testing.T) {
	t.Parallel()
	scope := verdict.AccountScope("lakeshore", "acme", "main")
	at := time.Date(2026, 3, 2, 9, 7, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		err   error
		cause string
		in    time.Duration
		kind  string
	}{
		"retry": {errors.New("connection reset"), "unmarked", 500 * time.Millisecond, KindWaiting},
		"hold":  {verdict.Held(scope, at, "account refused", nil), "account refused", 7 * time.Minute, KindHeld},
		"stall": {verdict.Stalled("vendor acme is down", nil), "vendor acme is down", stallFor, KindWaiting},
		"park":  {verdict.Parked("contract broken at /value", nil), "contract broken at /value", 0, KindParked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var since []string
			b.lists(&since, list{err: c.err})
			b.pollNow(t)
			_, due, _ := b.pollRow(t)
			if c.in == 0 {
				require.Nil(t, due)
			} else {
				require.Equal(t, c.in, due.Sub(b.clock.now()))
			}
			rows, err := b.desk.Stuck(t.Context(), Filter{Tenant: "lakeshore"})
			require.NoError(t, err)
			require.Len(t, rows, 1)
			require.Equal(t, c.cause, rows[0].Cause)
			require.Equal(t, c.kind, rows[0].Kind)
			require.True(t, rows[0].Poll)
			require.Zero(t, b.pollNow(t))
			n, err := b.desk.Release(t.Context(), Filter{Tenant: "lakeshore"}, "operator")
			require.NoError(t, err)
			require.Positive(t, n)
			require.Equal(t, 1, b.pollNow(t))
		})
	}
}

func TestListOfAnotherAccountIsRefusedWhole(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var since []string
	b.lists(&since, list{cursor: `{}`, changes: []producers.Change{
		whole(sale("1"), state{version: 1, body: "a"}), whole(saleOf("redrock", "1"), state{version: 1, body: "a"}),
	}})
	b.pollNow(t)
	require.Empty(t, b.log.all())
	_, due, cause := b.pollRow(t)
	require.Nil(t, due)
	require.Contains(t, cause, "another account")
}

// counting counts calls of a Publisher.
type counting struct {
	Publisher
	n atomic.Int64
}

func (c *counting) Publish(ctx context.Context, outs ...stream.Out) error {
	c.n.Add(1)
	return c.Publisher.Publish(ctx, outs...)
}

func TestAgeOfPollsIsMeasured(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var since []string
	b.lists(&since, list{cursor: `{}`})
	b.pollNow(t)
	b.clock.pass(90 * time.Second)
	b.Pollers().measure(t.Context())
	require.InDelta(t, 90, counter(t, b, "conveyance_poll_age_seconds"), 0.001)
	polled, err := b.desk.Polled(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]time.Time{"lakeshore/acme/main": b.clock.now().Add(-90 * time.Second)}, polled)
	b.hint(t, sale("1"), sale("2"))
	b.Workers().measure(t.Context())
	require.InDelta(t, 2, counter(t, b, "conveyance_fetch_dirty"), 0)
}
