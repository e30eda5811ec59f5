package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"conveyance/internal/fault"
	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

// Turn is everything that one numbered transaction of a process writes, for several partitions at
// once. A row is written only where the compare of its partition matched (protocol.md 5). A turn
// whose commit is unknown is committed again as it is (protocol.md 6).
type Turn struct {
	Moves     []Move
	Ends      []End
	Unclaims  []Unclaim
	Guards    []Guard
	Freed     []KeyRef
	Keys      []QueuedKey
	Records   []QueuedRecord
	Marks     []Mark
	Discards  []Discard
	Readbacks []Readback
	Wakes     []Healed
	Wants     []Want
	// Write is a batch handler's own rows; its turn has one move.
	Write func(ctx context.Context, tx pgx.Tx) error
}

// Move is one partition's compare: its token, the number of this transaction (the owner's last
// plus one), and where the watermark stands after it.
type Move struct {
	Place
	Owner uuid.UUID
	Seq   int64
	Next  int64
}

// End writes a ledger row's end state, where none stands.
type End struct {
	Place
	ID
	Pos   int64
	KeyID string
	Owner uuid.UUID
	State State
	Ref   string // the vendor's
	Line  string
}

// Unclaim takes a claim back that surely led to no call: the effect is as if never tried.
type Unclaim struct {
	Place
	ID
	Owner uuid.UUID
}

// Guard raises a facet's stored revision (protocol.md 14).
type Guard struct {
	Place
	Facet
	EID uuid.UUID
}

// KeyRef is a key whose queue ended in this turn.
type KeyRef struct {
	Place
	KeyID string
}

// Mark is what became of a record in the queue.
type Mark struct {
	Place
	Pos      int64
	State    RecordState
	Cause    string
	Attempts int
}

// Discard gives an event's open effects up, for a person.
type Discard struct {
	Place
	EID uuid.UUID
}

// Readback plans the reading back of an effect that was sent after a read-back (protocol.md 36).
// Round 0 ends it.
type Readback struct {
	Place
	ID
	Pos   int64
	Due   time.Time
	Round int16
}

// Healed releases what waits for a scope.
type Healed struct {
	Place
	Scope verdict.Scope
}

// Fate is what the compare of a partition said.
type Fate int

// The fates of a partition's compare.
const (
	Fenced Fate = iota // somebody else owns it: nothing of it was written
	Moved              // written
	Before             // this very transaction was committed before
)

// Result is what a committed turn came to.
type Result struct {
	Fates   map[Place]Fate
	Answers []Answer // one per Want, in order; zero where its partition is fenced
}

// Commit runs a turn. On an error for which postgres.IsUnknownCommit holds the same turn must be
// committed again until it is known (protocol.md 6); on any other error nothing was written.
func (s *Store) Commit(ctx context.Context, t *Turn) (out Result, err error) {
	if err := t.begins(); err != nil {
		return out, err
	}
	err = postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		out = Result{Fates: map[Place]Fate{}, Answers: make([]Answer, len(t.Wants))}
		if err := s.compare(ctx, tx, t, out.Fates); err != nil {
			return fmt.Errorf("comparing tokens: %w", err)
		}
		if err := s.write(ctx, tx, t, out.Fates); err != nil {
			return fmt.Errorf("writing effects and queue: %w", err)
		}
		if t.Write != nil && out.Fates[t.Moves[0].Place] == Moved {
			if err := t.Write(ctx, tx); err != nil {
				return err
			}
		}
		if len(t.Wants) > 0 {
			if err := s.answer(ctx, tx, t.Wants, &out); err != nil {
				return fmt.Errorf("claiming effects: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	return out, t.ended()
}

func (s *Store) compare(ctx context.Context, tx pgx.Tx, t *Turn, fates map[Place]Fate) error {
	m := t.Moves
	owners := col(m, func(m Move) [16]byte { return m.Owner })
	seqs := col(m, func(m Move) int64 { return m.Seq })
	for _, m := range m {
		fates[m.Place] = Fenced
	}
	compare := sqlCompare
	if fault.Broken("no offset CAS") {
		compare = strings.Replace(compare, "AND c.owner = u.owner AND c.seq = u.seq - 1", "", 1)
	}
	b := &pgx.Batch{}
	b.Queue(s.in(sqlLock), topics(m), parts(m))
	b.Queue(s.in(sqlBefore), topics(m), parts(m), owners, seqs).Query(func(rows pgx.Rows) error {
		return each(rows, func(p Place) { fates[p] = Before })
	})
	b.Queue(s.in(compare), topics(m), parts(m), owners, seqs, col(m, func(m Move) int64 { return m.Next })).
		Query(func(rows pgx.Rows) error { return each(rows, func(p Place) { fates[p] = Moved }) })
	var missing []time.Time
	s.queueMissingMonths(b, monthsOf(t), &missing)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	return s.makeMonths(ctx, tx, missing)
}

// moved keeps the rows whose partition's compare matched in this transaction.
func moved[T interface{ place() Place }](rows []T, fates map[Place]Fate) []T {
	var kept []T
	for _, r := range rows {
		if fates[r.place()] == Moved {
			kept = append(kept, r)
		}
	}
	return kept
}

func (s *Store) write(ctx context.Context, tx pgx.Tx, t *Turn, fates map[Place]Fate) error {
	b := &pgx.Batch{}
	if r := moved(t.Unclaims, fates); len(r) > 0 {
		b.Queue(s.in(sqlUnclaim), col(r, func(u Unclaim) [16]byte { return u.EID }),
			col(r, func(u Unclaim) int64 { return u.Step }), col(r, func(u Unclaim) [16]byte { return u.Owner }))
	}
	if r := moved(t.Ends, fates); len(r) > 0 {
		s.queueEnds(b, r)
	}
	if r := highest(moved(t.Guards, fates)); len(r) > 0 {
		s.queueGuards(b, r)
	}
	if r := moved(t.Discards, fates); len(r) > 0 {
		b.Queue(s.in(sqlDiscard), col(r, func(d Discard) [16]byte { return d.EID }))
	}
	if r := moved(t.Freed, fates); len(r) > 0 {
		b.Queue(s.in(sqlFree), topics(r), col(r, func(k KeyRef) string { return k.KeyID }))
	}
	if r := moved(t.Records, fates); len(r) > 0 {
		s.queueRecords(b, r)
	}
	if r := moved(t.Marks, fates); len(r) > 0 {
		b.Queue(s.in(sqlMark), topics(r), parts(r), col(r, func(m Mark) int64 { return m.Pos }),
			col(r, func(m Mark) RecordState { return m.State }), col(r, func(m Mark) string { return clean(m.Cause) }),
			col(r, func(m Mark) int { return m.Attempts }))
	}
	if r := moved(t.Keys, fates); len(r) > 0 {
		s.queueKeys(b, r)
	}
	if r := moved(t.Readbacks, fates); len(r) > 0 {
		s.queueReadbacks(b, r)
	}
	if r := moved(t.Wakes, fates); len(r) > 0 { // after the keys, so that a hold of this turn is woken too
		b.Queue(s.in(sqlWake), col(r, func(w Healed) verdict.Scope { return w.Scope }))
	}
	if b.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, b).Close()
}

// queueEnds keeps the first of two ends of one effect: an end state is written once (protocol.md 7).
func (s *Store) queueEnds(b *pgx.Batch, ends []End) {
	seen := make(map[ID]bool, len(ends))
	r := ends[:0:0]
	for _, e := range ends {
		if !seen[e.ID] {
			seen[e.ID] = true
			r = append(r, e)
		}
	}
	b.Queue(s.in(sqlEnd), col(r, func(e End) [16]byte { return e.EID }), col(r, func(e End) int64 { return e.Step }),
		col(r, func(e End) int64 { return e.Pos }), topics(r), parts(r), col(r, func(e End) string { return e.KeyID }),
		col(r, func(e End) [16]byte { return e.Owner }), col(r, func(e End) State { return e.State }),
		col(r, func(e End) string { return clean(e.Ref) }), col(r, func(e End) string { return clean(e.Line) }))
}

func (s *Store) queueGuards(b *pgx.Batch, r []Guard) {
	b.Queue(
		s.in(sqlGuard),
		col(r, func(g Guard) string { return safe(g.Resource) }),
		col(r, func(g Guard) string { return safe(g.Name) }),
		col(r, func(g Guard) int64 { return g.Revision }),
		col(r, func(g Guard) [16]byte { return g.EID }),
	)
}

// highest keeps the highest revision of each facet: a statement may write a row once.
func highest(guards []Guard) []Guard {
	at := map[[2]string]int{}
	var kept []Guard
	for _, g := range guards {
		facet := [2]string{g.Resource, g.Name}
		i, seen := at[facet]
		switch {
		case !seen:
			at[facet] = len(kept)
			kept = append(kept, g)
		case g.Revision > kept[i].Revision:
			kept[i] = g
		}
	}
	return kept
}

func (s *Store) queueReadbacks(b *pgx.Batch, r []Readback) {
	b.Queue(
		s.in(sqlReadback),
		col(r, func(x Readback) [16]byte { return x.EID }),
		col(r, func(x Readback) int64 { return x.Step }),
		col(r, func(x Readback) time.Time { return x.Due }),
		col(r, func(x Readback) int16 { return x.Round }),
		topics(r),
		parts(r),
		col(r, func(x Readback) int64 { return x.Pos }),
	)
	b.Queue(s.in(sqlReadbackOver))
}
