package ledger

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/fault"
)

// Want asks for the right to make one call (protocol.md 24, 25).
type Want struct {
	Place
	ID
	Owner  uuid.UUID
	Pos    int64
	KeyID  string
	Tenant string
	Class  Class
	Facet  Facet
	Line   string
	// What a person asked for an effect that is parked or unknown (protocol.md 7).
	FromParked, FromUnknown bool // claim it again
	InPlace                 bool // an unknown one is in place
}

// Ruling says what a want came to.
type Ruling int

// The rulings.
const (
	Ended    Ruling = iota // State tells the end state that stands
	Go                     // claimed by this turn, or by an earlier one of the same owner and record
	InDoubt                // claimed by another owner: sent, perhaps
	Twin                   // claimed by the same owner for another position: the first of two copies
	ReadBack               // claimed, but a row may have been dropped: read back before sending (protocol.md 43)
)

// Answer is what the ledger says to a want.
type Answer struct {
	Ruling    Ruling
	New       bool // no row was there: in the tail that Postgres lost, it is in doubt all the same (49)
	State     State
	ClaimedAt time.Time
}

// found is what stands in the tables about a want.
type found struct {
	state     State
	owner     uuid.UUID
	pos       int64
	claimedAt time.Time
	guarded   bool // the facet stands at this revision or above, by another event
	stands    bool // the facet stands at this revision by this very event: it was applied
	gap       bool // rows of this tenant and month were dropped
}

// answer rules over wants: rows that are there first, then gaps and guards, and claims what is new.
func (s *Store) answer(ctx context.Context, tx pgx.Tx, wants []Want, out *Result) error {
	finds, err := s.find(ctx, tx, wants)
	if err != nil {
		return err
	}
	var fresh []End
	var again, inPlace []Want
	var guards []Guard
	for i, w := range wants {
		fate := out.Fates[w.Place]
		if fate == Fenced {
			continue
		}
		f := finds[i]
		a := rule(w, f)
		out.Answers[i] = a
		if fate == Before {
			continue // written by the copy of this turn that was committed
		}
		switch {
		case f.state == None:
			state := a.State
			if a.Ruling != Ended {
				state = Claimed
			}
			fresh = append(fresh, w.end(state))
		case f.state != Claimed && a.Ruling == Go:
			again = append(again, w)
		case f.state == Unknown && w.InPlace:
			inPlace = append(inPlace, w)
			if w.Facet.Resource != "" {
				guards = append(guards, Guard{Place: w.Place, Facet: w.Facet, EID: w.EID})
			}
		}
	}
	b := &pgx.Batch{}
	if len(fresh) > 0 {
		s.queueEnds(b, fresh)
	}
	for sql, wants := range map[string][]Want{sqlReclaim: again, sqlInPlace: inPlace} {
		if len(wants) > 0 {
			b.Queue(s.in(sql), col(wants, func(w Want) [16]byte { return w.EID }), col(wants, func(w Want) int64 { return w.Step }),
				col(wants, func(w Want) [16]byte { return w.Owner }))
		}
	}
	if guards = highest(guards); len(guards) > 0 {
		s.queueGuards(b, guards)
	}
	if b.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, b).Close()
}

func (w Want) end(state State) End {
	return End{Place: w.Place, ID: w.ID, Pos: w.Pos, KeyID: w.KeyID, Owner: w.Owner, State: state, Line: w.Line}
}

// rule is protocol.md 25, 43 and 14 for one effect, in this order: what is in doubt is never
// superseded (27), and a missing row is believed only where none was dropped. The guard is read here,
// in the claim, and raised in the turn (42): raised alone, it would protect a table, but no API.
func rule(w Want, f found) Answer {
	switch {
	case f.state == Claimed && f.owner != w.Owner:
		return Answer{Ruling: InDoubt, State: Claimed, ClaimedAt: f.claimedAt}
	case f.state == Claimed && f.pos != w.Pos:
		return Answer{Ruling: Twin, State: Claimed, ClaimedAt: f.claimedAt}
	case f.state == Claimed: // by an earlier copy of this turn, or before a wait
		return Answer{Ruling: Go, New: true, State: Claimed, ClaimedAt: f.claimedAt}
	case f.state == Parked && w.FromParked, f.state == Unknown && w.FromUnknown:
		return Answer{Ruling: Go, State: Claimed, ClaimedAt: time.Now()}
	case f.state == Unknown && w.InPlace:
		return Answer{Ruling: Ended, State: Applied}
	case f.state != None:
		return Answer{Ruling: Ended, State: f.state}
	case f.guarded:
		return Answer{Ruling: Ended, State: Superseded}
	case f.gap && f.stands: // its row was dropped
		return Answer{Ruling: Ended, State: Applied}
	case f.gap && w.Facet.Resource == "" && w.Class == ClassC:
		return Answer{Ruling: ReadBack, State: Claimed, ClaimedAt: time.Now()}
	case f.gap && w.Facet.Resource == "":
		return Answer{Ruling: Ended, State: Refused}
	}
	return Answer{Ruling: Go, New: true, State: Claimed, ClaimedAt: time.Now()}
}

func (s *Store) find(ctx context.Context, tx pgx.Tx, wants []Want) ([]found, error) {
	finds := make([]found, len(wants))
	b := &pgx.Batch{}
	b.Queue(s.in(sqlFind),
		col(wants, func(w Want) [16]byte { return w.EID }),
		col(wants, func(w Want) int64 { return w.Step }),
		col(wants, func(w Want) string { return safe(w.Facet.Resource) }),
		col(wants, func(w Want) string { return safe(w.Facet.Name) }),
		col(wants, func(w Want) int64 { return w.Facet.Revision })).
		Query(func(rows pgx.Rows) error {
			var ord int64
			var state *State
			var owner *uuid.UUID
			var pos *int64
			var at *time.Time
			var guarded, stands *bool
			_, err := pgx.ForEachRow(rows, []any{&ord, &state, &owner, &pos, &at, &guarded, &stands}, func() error {
				f := &finds[ord-1]
				f.state, f.owner, f.pos, f.claimedAt = or(state), or(owner), or(pos), or(at)
				f.guarded, f.stands = or(guarded), or(stands)
				return nil
			})
			return err
		})
	gaps := map[string]bool{}
	b.Queue(s.in(sqlGaps),
		col(wants, func(w Want) string { return safe(w.Tenant) }),
		col(wants, func(w Want) string { return gapMonth(w.EID) })).
		Query(func(rows pgx.Rows) error {
			var tenant, month string
			return scanRows(rows, []any{&tenant, &month}, func() { gaps[tenant+" "+month] = true })
		})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	for i, w := range wants {
		finds[i].gap = gaps[w.Tenant+" "+gapMonth(w.EID)] && !fault.Broken("replay bypassing ledger")
		if fault.Broken("no ledger PK") || fault.Broken("ledger TTL 1 s") && time.Since(finds[i].claimedAt) > time.Second {
			finds[i].state = None
		}
	}
	return finds, nil
}

func gapMonth(id uuid.UUID) string { return event.IDTime(id).Format("2006-01") + "-01" }

func or[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
