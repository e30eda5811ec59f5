package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
)

var (
	one = ledger.Place{Topic: "deals.v1", Part: 0}
	two = ledger.Place{Topic: "deals.v1", Part: 1}
)

type tables struct {
	*ledger.Store
	t      *testing.T
	pool   *pgxpool.Pool
	schema string
}

func open(t *testing.T) tables {
	t.Helper()
	pool, schema := testkit.Schema(t)
	m := postgres.Migrations{Schema: schema, Set: "engine", Files: ledger.Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	return tables{ledger.Open(pool, schema), t, pool, schema}
}

// owner claims places and stores that their logs begin at 0.
func (s tables) owner(places ...ledger.Place) map[ledger.Place]uuid.UUID {
	s.t.Helper()
	claims, err := s.Claim(s.t.Context(), places, 1)
	require.NoError(s.t, err)
	tokens := map[ledger.Place]uuid.UUID{}
	var rs []ledger.Resolution
	for _, c := range claims {
		tokens[c.Place] = c.Owner
		rs = append(rs, ledger.Resolution{Place: c.Place, Owner: c.Owner, TopicID: uuid.New()})
	}
	kept, err := s.Resolve(s.t.Context(), rs)
	require.NoError(s.t, err)
	require.Len(s.t, kept, len(places))
	return tokens
}

func (s tables) commit(turn *ledger.Turn) ledger.Result {
	s.t.Helper()
	res, err := s.Commit(s.t.Context(), turn)
	require.NoError(s.t, err)
	return res
}

func value[T any](s tables, sql string, args ...any) T {
	s.t.Helper()
	var v T
	require.NoError(s.t, s.pool.QueryRow(s.t.Context(), postgres.In(s.schema, sql), args...).Scan(&v))
	return v
}

func (s tables) exec(sql string, args ...any) {
	s.t.Helper()
	_, err := s.pool.Exec(s.t.Context(), postgres.In(s.schema, sql), args...)
	require.NoError(s.t, err)
}

func (s tables) next(p ledger.Place) int64 {
	return value[int64](s, "SELECT next_offset FROM {schema}.consumer_offsets WHERE part = $1", p.Part)
}

func id(n int64) uuid.UUID {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	return event.ID(at, event.Resource{ID: "r"}, n, event.TypeDealChanged, "")
}

// Rules 5 and 6: a turn is written once, however often it is committed, and a copy that comes when
// the owner is further on is refused.
func TestTurnIsWrittenOnceAndALateCopyIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	me := s.owner(one)[one]
	key := ledger.QueuedKey{Place: one, KeyID: "k", Kind: ledger.ParkedKey, Scope: "key", Cause: "x", Count: 1}
	first := &ledger.Turn{
		Moves:   []ledger.Move{{Place: one, Owner: me, Seq: 2, Next: 5}},
		Keys:    []ledger.QueuedKey{key},
		Records: []ledger.QueuedRecord{{Place: one, Pos: 4, KeyID: "k", At: time.Now(), Cause: "x"}},
		Ends:    []ledger.End{{Place: one, ID: ledger.ID{EID: id(1)}, Owner: me, State: ledger.Applied}},
	}
	require.Equal(t, ledger.Moved, s.commit(first).Fates[one])
	require.Equal(t, ledger.Before, s.commit(first).Fates[one])
	second := &ledger.Turn{
		Moves: []ledger.Move{{Place: one, Owner: me, Seq: 3, Next: 5}}, // does not move the watermark
		Freed: []ledger.KeyRef{{Place: one, KeyID: "k"}},
		Marks: []ledger.Mark{{Place: one, Pos: 4, State: ledger.RecordDone}},
	}
	require.Equal(t, ledger.Moved, s.commit(second).Fates[one])
	require.Equal(t, ledger.Fenced, s.commit(first).Fates[one], "the lost copy lands late")
	require.Zero(t, value[int64](s, "SELECT count(*) FROM {schema}.queued_key"), "and parks nothing again")
	require.EqualValues(t, 5, s.next(one))
}

// Rule 5: of several partitions only those are written whose own compare matched.
func TestFencedPartitionOfATurnWritesNothingAndTheOthersDo(t *testing.T) {
	t.Parallel()
	s := open(t)
	old := s.owner(one, two)
	s.owner(one)
	var ends []ledger.End
	for n, p := range []ledger.Place{one, two} {
		ends = append(
			ends,
			ledger.End{
				Place: p,
				ID:    ledger.ID{EID: id(int64(n))},
				Owner: old[p],
				State: ledger.Applied,
				Line:  p.String(),
			},
		)
	}
	res := s.commit(&ledger.Turn{
		Moves: []ledger.Move{
			{Place: one, Owner: old[one], Seq: 2, Next: 9},
			{Place: two, Owner: old[two], Seq: 2, Next: 9},
		},
		Ends: ends,
		Wants: []ledger.Want{
			{Place: one, ID: ledger.ID{EID: id(7)}, Owner: old[one]},
			{Place: two, ID: ledger.ID{EID: id(8)}, Owner: old[two]},
		},
	})
	require.Equal(t, ledger.Fenced, res.Fates[one])
	require.Equal(t, ledger.Moved, res.Fates[two])
	require.Equal(t, ledger.Go, res.Answers[1].Ruling)
	require.Equal(t, "deals.v1/1", value[string](s, "SELECT string_agg(line, ',') FROM {schema}.ledger"))
	require.EqualValues(t, 1, value[int64](s, "SELECT count(*) FROM {schema}.ledger WHERE state = 1"))
	require.Zero(t, s.next(one))
}

// Rule 1: the token is no number that comes again when Postgres loses a claim.
func TestTokenOfALostClaimIsNotDrawnAgain(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.owner(one)
	s.exec("CREATE TABLE {schema}.backup AS TABLE {schema}.consumer_offsets")
	lost := s.owner(one)[one]
	s.exec("DELETE FROM {schema}.consumer_offsets")
	s.exec("INSERT INTO {schema}.consumer_offsets SELECT * FROM {schema}.backup")
	s.owner(one)
	require.EqualValues(t, 2, value[int64](s, "SELECT epoch FROM {schema}.consumer_offsets"), "the same epoch again")
	res := s.commit(&ledger.Turn{Moves: []ledger.Move{{Place: one, Owner: lost, Seq: 2, Next: 3}}})
	require.Equal(t, ledger.Fenced, res.Fates[one])
}

// Rule 4: a frozen owner's open transaction does not keep its successor waiting for ever.
func TestClaimWaitsForAnOpenTransactionOnlySoLong(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.owner(one)
	held := make(chan struct{})
	go func() {
		_ = postgres.Tx(context.WithoutCancel(t.Context()), s.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), postgres.In(s.schema, "UPDATE {schema}.consumer_offsets SET seq = seq"))
			close(held)
			<-t.Context().Done() // frozen
			return err
		})
	}()
	<-held
	began := time.Now()
	require.Eventually(
		t,
		func() bool { _, err := s.Claim(t.Context(), []ledger.Place{one}, 1); return err == nil },
		testkit.Patience,
		testkit.Look,
	)
	require.Less(t, time.Since(began), 2*postgres.IdleInTransactionTimeout+postgres.LockTimeout)
}

// Rule 7: an end state is written once.
func TestEndStateIsNotOverwrittenButByAPerson(t *testing.T) {
	t.Parallel()
	s := open(t)
	me := s.owner(one)[one]
	n := int64(1)
	turn := func(fill func(*ledger.Turn)) ledger.Result {
		n++
		tr := &ledger.Turn{Moves: []ledger.Move{{Place: one, Owner: me, Seq: n}}}
		fill(tr)
		return s.commit(tr)
	}
	end := func(state ledger.State) {
		turn(func(tr *ledger.Turn) {
			tr.Ends = []ledger.End{{Place: one, ID: ledger.ID{EID: id(1)}, Owner: me, State: state}}
		})
	}
	state := func() int16 { return value[int16](s, "SELECT state FROM {schema}.ledger") }
	end(ledger.Superseded)
	end(ledger.Applied)
	end(ledger.Unknown)
	require.EqualValues(t, ledger.Superseded, state())
	s.exec("UPDATE {schema}.ledger SET state = 4")
	end(ledger.Unknown)
	require.EqualValues(t, ledger.Parked, state())
	want := ledger.Want{Place: one, ID: ledger.ID{EID: id(1)}, Owner: me}
	ask := func(w ledger.Want) ledger.Answer {
		return turn(func(tr *ledger.Turn) { tr.Wants = []ledger.Want{w} }).Answers[0]
	}
	require.Equal(t, ledger.Answer{Ruling: ledger.Ended, State: ledger.Parked}, ask(want))
	want.FromParked = true
	require.Equal(t, ledger.Go, ask(want).Ruling)
	require.EqualValues(t, ledger.Claimed, state())
	s.exec("UPDATE {schema}.ledger SET state = 5")
	require.Equal(t, ledger.Answer{Ruling: ledger.Ended, State: ledger.Unknown}, ask(want))
	want.InPlace = true
	require.Equal(t, ledger.Answer{Ruling: ledger.Ended, State: ledger.Applied}, ask(want))
	require.EqualValues(t, ledger.Applied, state())
}

// Rule 14: a revision counts as newer only where it is above the stored one, also the stored one's
// own repetition by another event.
func TestGuardComparesRevisions(t *testing.T) {
	t.Parallel()
	s := open(t)
	me := s.owner(one)[one]
	facet := ledger.Facet{Resource: "r", Name: "DealChanged", Revision: 5}
	s.commit(&ledger.Turn{Moves: []ledger.Move{{Place: one, Owner: me, Seq: 2}}, Guards: []ledger.Guard{
		{
			Place: one,
			Facet: ledger.Facet{Resource: "r", Name: "DealChanged", Revision: 4},
			EID:   id(4),
		},
		{Place: one, Facet: facet, EID: id(5)},
	}})
	var wants []ledger.Want
	for n := int64(4); n <= 6; n++ {
		f := facet
		f.Revision = n
		wants = append(wants, ledger.Want{Place: one, ID: ledger.ID{EID: id(n), Step: 1}, Owner: me, Facet: f})
	}
	wants = append(
		wants,
		ledger.Want{Place: one, ID: ledger.ID{EID: id(99)}, Owner: me, Facet: facet},
	) // same revision, another event
	a := s.commit(&ledger.Turn{Moves: []ledger.Move{{Place: one, Owner: me, Seq: 3}}, Wants: wants}).Answers
	require.Equal(t, ledger.Answer{Ruling: ledger.Ended, State: ledger.Superseded}, a[0])
	require.Equal(t, ledger.Go, a[1].Ruling, "a second effect of the same event")
	require.Equal(t, ledger.Go, a[2].Ruling)
	require.Equal(t, ledger.Superseded, a[3].State)
}

// Rule 39: a wish that comes while its key is tried is not lost with the row that the owner writes.
func TestWishThatTheOwnerHasNotSeenStays(t *testing.T) {
	t.Parallel()
	s := open(t)
	me := s.owner(one)[one]
	q := ledger.NewQueue(s.pool, s.schema)
	key := ledger.QueuedKey{
		Place:  one,
		KeyID:  "k",
		Tenant: "lakeshore",
		Kind:   ledger.ParkedKey,
		Scope:  "key",
		Cause:  "x",
		Count:  1,
	}
	write := func(seq int64) {
		s.commit(&ledger.Turn{Moves: []ledger.Move{{Place: one, Owner: me, Seq: seq}}, Keys: []ledger.QueuedKey{key}})
	}
	wishes := func() []ledger.Wish {
		p, err := s.Pulse(t.Context(), []ledger.Place{one}, nil)
		require.NoError(t, err)
		return p.Wishes
	}
	write(2)
	n, err := q.Release(t.Context(), ledger.Filter{Tenant: "lakeshore"}, "ops", "a")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	seen := wishes()
	require.Len(t, seen, 1)
	_, err = q.Release(t.Context(), ledger.Filter{}, "ops", "b") // while the owner tries
	require.NoError(t, err)
	key.Obeyed = seen[0].WantedAt
	write(3)
	again := wishes()
	require.Len(t, again, 1)
	key.Obeyed = again[0].WantedAt
	write(4)
	require.Empty(t, wishes())
}

// A wake is for what waits for its scope; what waits for a person stays.
func TestWakeLeavesParkedKeys(t *testing.T) {
	t.Parallel()
	s := open(t)
	me := s.owner(one)[one]
	s.commit(&ledger.Turn{Moves: []ledger.Move{{Place: one, Owner: me, Seq: 2}}, Keys: []ledger.QueuedKey{
		{Place: one, KeyID: "held", Kind: ledger.HeldScope, Scope: "tenant:a", Cause: "x"},
		{Place: one, KeyID: "parked", Kind: ledger.ParkedKey, Scope: "tenant:a", Cause: "x"},
		{Place: one, KeyID: "other", Kind: ledger.HeldScope, Scope: "tenant:b", Cause: "x"},
	}})
	n, err := ledger.Wake(t.Context(), s.pool, s.schema, "tenant:a", "tenant:none")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.Equal(
		t,
		"held",
		value[string](s, "SELECT string_agg(key_id, ',') FROM {schema}.queued_key WHERE release_wanted"),
	)
	sums, err := ledger.NewQueue(s.pool, s.schema).Sums(t.Context())
	require.NoError(t, err)
	require.Len(t, sums, 3)
}

func TestWakeInATransactionStandsOrFallsWithIt(t *testing.T) {
	t.Parallel()
	s := open(t)
	me := s.owner(one)[one]
	s.commit(&ledger.Turn{Moves: []ledger.Move{{Place: one, Owner: me, Seq: 2}}, Keys: []ledger.QueuedKey{
		{Place: one, KeyID: "held", Kind: ledger.HeldScope, Scope: "link:a", Cause: "x"},
	}})
	wake := func(end error) {
		err := postgres.Tx(t.Context(), s.pool, func(tx pgx.Tx) error {
			n, err := ledger.WakeIn(t.Context(), tx, s.schema, "link:a", "link:b")
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
			return end
		})
		require.ErrorIs(t, err, end)
	}
	const woken = "SELECT count(*) FROM {schema}.queued_key WHERE release_wanted"
	wake(errors.New("rolled back"))
	require.Zero(t, value[int](s, woken))
	wake(nil)
	require.Equal(t, 1, value[int](s, woken))
}

// Rule 12, and months made on demand by many at once.
func TestFreshCountsEachEventOnceAcrossMonthsAndWriters(t *testing.T) {
	t.Parallel()
	s := open(t)
	var rows []ledger.Row
	for m := range 6 {
		at := time.Date(2026, time.Month(1+m), 3, 0, 0, 0, 0, time.UTC)
		eid := event.ID(at, event.Resource{ID: "r"}, 1, event.TypeDealChanged, "")
		rows = append(
			rows,
			ledger.Row{EID: eid, Topic: "deals.v1", Offset: int64(m)},
			ledger.Row{EID: eid, Topic: "deals.v1", Offset: 99},
		)
	}
	rows = append(
		rows,
		ledger.Row{EID: uuid.UUID{6: 0x80}},
		ledger.Row{EID: uuid.UUID{0: 0xff, 6: 0x80}},
	) // years without a month
	var mu sync.Mutex
	total := 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			err := postgres.Tx(context.WithoutCancel(t.Context()), s.pool, func(tx pgx.Tx) error {
				fresh, err := ledger.Fresh(t.Context(), tx, s.schema, rows)
				mu.Lock()
				defer mu.Unlock()
				for i, is := range fresh {
					if is {
						total++
						if rows[i].Offset == 99 {
							return fmt.Errorf("the second copy of %s counted", rows[i].EID)
						}
					}
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 8, total)
	require.EqualValues(t, 8, value[int64](s, "SELECT count(*) FROM {schema}.ledger"))
	require.EqualValues(
		t,
		8,
		value[int64](
			s,
			"SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass($1)",
			postgres.In(s.schema, "{schema}.ledger"),
		),
	)
}

func TestRewindFencesAndJumpsOverNothingOpen(t *testing.T) {
	t.Parallel()
	s := open(t)
	me := s.owner(one)[one]
	s.commit(&ledger.Turn{
		Moves: []ledger.Move{{Place: one, Owner: me, Seq: 2, Next: 5}},
		Wants: []ledger.Want{{Place: one, ID: ledger.ID{EID: id(1)}, Owner: me, Pos: 7}},
	})
	require.ErrorIs(t, ledger.Rewind(t.Context(), s.pool, s.schema, one, 9, "ops", "x"), ledger.ErrOpenEffects)
	require.NoError(t, ledger.Rewind(t.Context(), s.pool, s.schema, one, 2, "ops", "x"))
	require.Equal(
		t,
		ledger.Fenced,
		s.commit(&ledger.Turn{Moves: []ledger.Move{{Place: one, Owner: me, Seq: 3, Next: 6}}}).Fates[one],
	)
	offsets, err := ledger.Offsets(t.Context(), s.pool, s.schema)
	require.NoError(t, err)
	require.EqualValues(t, 2, *offsets[0].Next)
	require.Equal(t, "rewind to 2", value[string](s, "SELECT action FROM {schema}.queue_audit"))
	require.ErrorContains(t, ledger.Rewind(t.Context(), s.pool, s.schema, two, 2, "ops", "x"), "deals.v1/1")
}

func TestHostileTextIsKept(t *testing.T) {
	t.Parallel()
	s := open(t)
	me := s.owner(one)[one]
	bad := "a\x00b\xff" + string(make([]byte, 2000))
	s.commit(&ledger.Turn{
		Moves: []ledger.Move{{Place: one, Owner: me, Seq: 2}},
		Ends: []ledger.End{
			{Place: one, ID: ledger.ID{EID: id(1)}, Owner: me, State: ledger.Applied, Ref: bad, Line: bad},
		},
		Guards: []ledger.Guard{{Place: one, Facet: ledger.Facet{Resource: bad, Name: bad, Revision: 1}, EID: id(1)}},
		Keys: []ledger.QueuedKey{
			{Place: one, KeyID: "k", Tenant: bad, Cause: bad, Detail: bad, Kind: ledger.Waiting},
		},
		Records: []ledger.QueuedRecord{
			{
				Place:   one,
				Pos:     1,
				KeyID:   "k",
				Value:   []byte(bad),
				At:      time.Now(),
				Headers: []ledger.Header{{Key: bad, Value: []byte(bad)}},
			},
		},
	})
	records, err := s.QueuedRecords(t.Context(), "deals.v1", []string{"k"}, 10)
	require.NoError(t, err)
	require.Equal(t, bad, string(records[0].Headers[0].Value))
	require.Equal(t, bad, string(records[0].Value))
}
