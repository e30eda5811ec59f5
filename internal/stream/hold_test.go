package stream_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/topic"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
	"conveyance/internal/verdict"
)

var deadAccount = verdict.AccountScope("lakeshore", "crm", "main")

// refusing is a vendor that refuses one tenant's account while dead is set.
func refusing(dead *atomic.Bool, until time.Time) *vendor {
	return &vendor{
		class: ledger.ClassD,
		apply: func(_ context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
			if dead.Load() && strings.HasPrefix(f.Line, "lakeshore/") {
				return ledger.Receipt{}, verdict.Held(deadAccount, until, "account refused", nil)
			}
			return ledger.Receipt{}, nil
		},
	}
}

// Rule 40: one tenant's dead account stops that tenant's records and nobody else's.
func TestDeadAccountHoldsItsTenantAloneAndResumesInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	var dead atomic.Bool
	dead.Store(true)
	v := refusing(&dead, time.Time{})
	cfg := w.config()
	cfg.WindowRecords = 100 // the dead tenant's backlog alone would fill it
	w.run(stream.NewKeyed(cfg, w.deps(w.pool), v))
	for n := int64(1); n <= 5; n++ {
		for d := range 30 {
			w.publish(deal("lakeshore", strconv.Itoa(d), n))
		}
		w.publish(deal("harbor", "1", n))
	}
	w.atWatermark(155)
	require.Equal(t, lines("harbor/1", 1, 5), v.done())
	require.Equal(t, "2 150", get[string](w, "SELECT min(kind) || ' ' || sum(count) FROM {schema}.queued_key"))
	require.Zero(t, get[int64](w, "SELECT max(attempts)::bigint FROM {schema}.queued_record"), "no attempt is spent")

	// Woken while still dead: one key tries, the others stay.
	tried := len(v.called())
	n, err := ledger.Wake(t.Context(), w.pool, w.schema, deadAccount)
	require.NoError(t, err)
	require.EqualValues(t, 30, n)
	w.eventually("a probe", func() bool { return len(v.called()) > tried })
	began := time.Now()
	w.eventually("time for more than a probe", func() bool { return time.Since(began) > 5*100*time.Millisecond })
	require.LessOrEqual(t, len(v.called())-tried, 2, "one probe per partition")

	dead.Store(false)
	_, err = ledger.Wake(t.Context(), w.pool, w.schema, deadAccount)
	require.NoError(t, err)
	w.emptyQueue()
	for d := range 30 {
		id := fmt.Sprintf("lakeshore/%d", d)
		require.Equal(t, lines(id, 1, 5), of(v.done(), id))
	}
}

// The first record of a held scope that goes through wakes the others.
func TestOneThatGoesThroughReleasesItsScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var dead atomic.Bool
	dead.Store(true)
	v := refusing(&dead, time.Now().Add(time.Hour))
	w.keyed(v)
	for d := range 8 {
		w.publish(deal("lakeshore", strconv.Itoa(d), 1))
	}
	w.atWatermark(8)
	dead.Store(false)
	n, err := ledger.NewQueue(w.pool, w.schema).Release(t.Context(), ledger.Filter{Limit: 1}, "ops", "try one")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	w.emptyQueue()
	require.Len(t, v.done(), 8)
}

func TestHoldWithATimeIsTriedByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var dead atomic.Bool
	dead.Store(true)
	v := refusing(&dead, time.Now().Add(2*time.Second))
	w.keyed(v)
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "1", 2))
	w.atWatermark(2)
	require.Empty(t, v.done())
	dead.Store(false)
	w.emptyQueue()
	require.Equal(t, lines("lakeshore/1", 1, 2), v.done())
}

// An effect may heal what others wait for.
func TestReceiptWakesWhatWaitsForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	person := verdict.PersonScope("lakeshore", "k")
	var made atomic.Bool
	v := &vendor{class: ledger.ClassB}
	h := &waker{vendor: v, made: &made, scope: person}
	w.keyed(h)
	w.publish(deal("lakeshore", "needs", 1), deal("lakeshore", "needs", 2))
	w.atWatermark(2)
	require.Empty(t, v.done())
	w.publish(deal("lakeshore", "makes", 1))
	w.emptyQueue()
	w.eventually("all", func() bool { return len(v.done()) == 3 })
	require.Equal(t, []string{"lakeshore/makes#1", "lakeshore/needs#1", "lakeshore/needs#2"}, v.done())
}

type waker struct {
	*vendor
	made  *atomic.Bool
	scope verdict.Scope
}

func (h *waker) Apply(ctx context.Context, r *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
	if strings.Contains(f.Line, "needs") && !h.made.Load() {
		return ledger.Receipt{}, verdict.Held(h.scope, time.Time{}, "no person yet", nil)
	}
	receipt, err := h.vendor.Apply(ctx, r, f)
	if strings.Contains(f.Line, "makes") {
		h.made.Store(true)
		receipt.Wake = h.scope
	}
	return receipt, err
}

// One tenant's backlog does not keep another waiting: tenants take turns.
func TestTenantsTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	block := make(chan struct{})
	v := &vendor{
		class: ledger.ClassB,
		apply: func(context.Context, *stream.Record, ledger.Effect) (ledger.Receipt, error) {
			<-block
			return ledger.Receipt{}, nil
		},
	}
	for d := range 60 {
		w.publish(deal("big", strconv.Itoa(d), 1))
	}
	w.publish(deal("small", "1", 1), deal("small", "2", 1))
	cfg := w.config()
	cfg.Concurrency, cfg.CallDeadline = 4, time.Minute
	w.run(stream.NewKeyed(cfg, w.deps(w.pool), v))
	w.eventually("four calls", func() bool { return len(v.called()) == 4 })
	close(block)
	w.atWatermark(62)
	for i, l := range v.called() {
		if l == "small/2#1" {
			require.Less(t, i, 12, "after a few of the others' turns")
		}
	}
}

func TestDroppedRecordIsGivenUpAndThoseBehindItFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{
		class: ledger.ClassB,
		apply: func(_ context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
			if f.Line == "lakeshore/1#1" {
				return ledger.Receipt{}, verdict.Parked("refused", nil)
			}
			return ledger.Receipt{}, nil
		},
	}
	w.keyed(v)
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "1", 2))
	w.atWatermark(2)
	q := ledger.NewQueue(w.pool, w.schema)
	held, err := q.List(t.Context(), ledger.Filter{Kind: ledger.ParkedKey})
	require.NoError(t, err)
	require.Len(t, held, 1)
	d, err := q.Show(t.Context(), topic.Deals, held[0].Key)
	require.NoError(t, err)
	require.Equal(t, "parked", d.Effects[0].State)
	require.NoError(t, q.Drop(t.Context(), topic.Deals, held[0].Key, "ops", "sold twice"))
	w.emptyQueue()
	require.Equal(t, []string{"lakeshore/1#2"}, v.done())
	require.Equal(t, "lakeshore/1#1=7 lakeshore/1#2=2", w.states())
	require.ErrorIs(t, q.Drop(t.Context(), topic.Deals, held[0].Key, "ops", "again"), ledger.ErrNotQueued)
}

// Rule 43: a missing row is not believed where rows were dropped.
func TestMissingRowIsNotBelievedWhereRowsWereDropped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		class  ledger.Class
		facts  bool
		states string
		calls  int
		reads  int
	}{
		{ledger.ClassB, true, "lakeshore/1#1=6", 0, 0},
		{ledger.ClassD, true, "lakeshore/1#1=6", 0, 0},
		{ledger.ClassC, true, "lakeshore/1#1=2", 1, 1},
		{ledger.ClassD, false, "lakeshore/1#1=2", 1, 0}, // versions are never purged
	} {
		t.Run(fmt.Sprintf("%c facts %t", c.class, c.facts), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.exec("INSERT INTO {schema}.ledger_gap VALUES ('lakeshore', '2026-03-01')")
			v := &vendor{class: c.class, facts: c.facts}
			w.publish(deal("lakeshore", "1", 1), deal("harbor", "1", 1))
			w.keyed(v)
			w.atWatermark(2)
			require.Contains(t, w.states(), c.states)
			require.Len(t, of(v.called(), "lakeshore/1"), c.calls)
			require.Len(t, of(v.called(), "harbor/1"), 1)
			require.Equal(t, c.reads, v.reads)
		})
	}
}

// Rule 43: the versions are never dropped with the rows, and say what stands.
func TestEffectThatStandsIsNotMadeAgainWhereItsRowWasDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{class: ledger.ClassD}
	w.publish(deal("lakeshore", "1", 1))
	w.keyed(v)
	w.atWatermark(1)
	w.exec("INSERT INTO {schema}.ledger_gap VALUES ('lakeshore', '2026-03-01')")
	w.exec("DELETE FROM {schema}.ledger")
	w.publish(deal("lakeshore", "1", 1))
	w.atWatermark(2)
	require.Len(t, v.called(), 1)
}

// Rule 49: Postgres lost rows; the mirror in Kafka tells, and what has no row is not new.
func TestRowsThatPostgresLostAreInDoubt(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]string{
		"watermark": "UPDATE {schema}.consumer_offsets SET next_offset = 0",
		"timeline":  "", // the new primary has the watermark, and no rows above it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			v := &vendor{class: ledger.ClassC, facts: true}
			r := w.keyed(v)
			w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "2", 1))
			w.atWatermark(2)
			r.stop() // mirrors at the end
			require.Equal(t, `2 {"timeline":1}`, w.mirrored())
			w.exec("DELETE FROM {schema}.ledger")
			if lose != "" {
				w.exec(lose)
			} else {
				w.mirror(2, `{"timeline":7}`)
				w.publish(deal("lakeshore", "3", 1))
				v.carry("lakeshore/3#1") // the old primary's owner had called
			}
			w.keyed(v)
			w.atWatermark(
				2 + get[int64](w, "SELECT (SELECT count(*) FROM {schema}.ledger WHERE line = 'lakeshore/3#1')"),
			)
			w.eventually(
				"read back",
				func() bool { return get[int64](w, "SELECT count(*) FROM {schema}.ledger WHERE state = 2") > 0 },
			)
			require.Len(t, v.called(), 2, "nothing is called again")
			require.NotZero(t, v.reads)
		})
	}
}

func TestAccountThatIsDeadKeepsNoSlotFromOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	slow := make(chan struct{})
	v := &vendor{
		class: ledger.ClassB,
		apply: func(ctx context.Context, _ *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
			if strings.HasPrefix(f.Line, "slow/") {
				select {
				case <-slow:
				case <-ctx.Done():
				}
			}
			return ledger.Receipt{}, nil
		},
	}
	cfg := w.config()
	cfg.Concurrency, cfg.CallDeadline = 32, time.Minute
	w.run(stream.NewKeyed(cfg, w.deps(w.pool), v))
	for d := range 40 {
		w.publish(deal("slow", strconv.Itoa(d), 1))
	}
	w.eventually("slots taken", func() bool { return len(v.called()) == 30 })
	w.publish(deal("quick", "1", 1))
	w.eventually("the other tenant", func() bool { return len(v.done()) == 1 })
	close(slow)
	w.atWatermark(41)
}
