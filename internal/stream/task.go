package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

const (
	// copyLook is how often the second copy of a record looks whether the first has ended.
	copyLook = 200 * time.Millisecond
	// copyHold is when a copy whose first is in the queue is looked at again.
	copyHold = time.Minute
	// readbackFirst and readbackSecond are when an effect that was sent after a read-back is read
	// back again (protocol.md 36).
	readbackFirst  = time.Hour
	readbackSecond = 23 * time.Hour
)

var errUnplanned = errors.New("an effect in doubt is no longer planned")

// advance takes a record's next step. It holds a slot.
func (k *keyed) advance(t *task) {
	for t.planned && t.at < len(t.steps) && t.steps[t.at].ended != ledger.None {
		if s := t.steps[t.at].ended; s == ledger.Parked || s == ledger.Unknown {
			k.end(t, &verdict.Error{Kind: verdict.Park, Cause: "outcome " + s.String()}) // the cause that it has already
			return
		}
		t.reason = reasons[t.steps[t.at].ended]
		k.e.m.effect(t.effects[t.at], t.reason)
		t.at++
	}
	switch {
	case t.w.lost:
		k.abandon(t)
	case t.planned && t.at == len(t.steps) && t.applied > 0:
		k.end(t, nil)
	case t.planned && t.at == len(t.steps):
		k.end(t, &verdict.Error{Kind: verdict.Skip, Cause: t.reason})
	case t.w.leaving:
		k.abandon(t)
	case t.decided != nil:
		k.end(t, t.decided)
	case !t.planned:
		k.plan(t)
	case t.steps[t.at].doubt != nil:
		k.settle(t)
	case t.steps[t.at].claimed:
		k.call(t)
	case t.effects[t.at].Class == ledger.ClassD && !t.calling:
		k.calls.push(t) // a claim that a crash leaves behind costs a person's time
	default:
		k.claims = append(k.claims, t) // keeps its slot: it is called next
	}
}

// reasons of effects that need no call.
var reasons = map[ledger.State]string{
	ledger.Applied:    "duplicate",
	ledger.Superseded: "superseded",
	ledger.Refused:    "refused: its ledger row may have been dropped",
	ledger.Discarded:  "discarded",
}

// job runs fn beside the lane's goroutine, and then, in it, what fn returns.
func (k *keyed) job(t *task, fn func(ctx context.Context) func()) {
	w := t.w
	w.jobs++
	t.running = true
	k.s.work.Go(func() {
		then := fn(k.s.hard)
		k.post(func() {
			w.jobs--
			t.running = false
			then()
			k.left(w)
		})
	})
}

func (k *keyed) plan(t *task) {
	k.job(t, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, k.cfg.CallDeadline)
		defer cancel()
		var effects []ledger.Effect
		err := guarded(func() (err error) { effects, err = k.h.Plan(ctx, t.Record); return err })
		return func() { k.planned(t, effects, err) }
	})
}

func (k *keyed) planned(t *task, effects []ledger.Effect, err error) {
	if t.w.leaving || t.w.lost {
		k.abandon(t)
		return
	}
	v := verdict.Of(err) // unmarked is a retry: nothing was sent
	steps := map[int64]bool{}
	for _, f := range effects {
		steps[f.Step()] = true
	}
	switch {
	case v == nil && len(steps) < len(effects):
		k.end(t, &verdict.Error{Kind: verdict.Park, Cause: "two effects of one verb and target"})
	case (v == nil || v.Kind == verdict.Skip) && k.orphaned(t, steps):
		k.unplanned(t)
	case v == nil && len(effects) == 0:
		k.end(t, &verdict.Error{Kind: verdict.Skip, Cause: "nothing to do"})
	case v == nil:
		t.effects, t.steps, t.planned = effects, make([]step, len(effects)), true
		k.advance(t)
	case v.Kind == verdict.Retry, v.Kind == verdict.Doubt:
		k.later(t, v)
	case v.Kind == verdict.Stall:
		k.stall(t, v)
	default:
		k.end(t, v)
	}
}

// orphaned is true where the event has an effect in doubt that steps does not contain.
func (k *keyed) orphaned(t *task, steps map[int64]bool) bool {
	for id := range t.w.doubts {
		if id.EID == t.eid && !steps[id.Step] {
			return true
		}
	}
	return false
}

// unplanned is an event with an effect in doubt that a fresh plan does not find: it is not skipped
// (protocol.md 27). When no call of it can still land, a person decides.
func (k *keyed) unplanned(t *task) {
	var late time.Duration
	for id, d := range t.w.doubts {
		if id.EID == t.eid {
			late = max(late, time.Until(d.ready))
		}
	}
	if late > 0 {
		k.delay(t, late)
		return
	}
	for id := range t.w.doubts {
		if id.EID == t.eid {
			k.endStep(t, ledger.End{ID: id, State: ledger.Unknown})
			delete(t.w.doubts, id)
		}
	}
	k.end(t, &verdict.Error{Kind: verdict.Park, Cause: "outcome unknown", Err: errUnplanned})
}

// wants asks for the claims of the effects that are called next: those of class A and B up to the
// next of another class, one of class C or D (protocol.md 24).
func (t *task) wants() []ledger.Want {
	var wants []ledger.Want
	for i := t.at; i < len(t.effects); i++ {
		f := t.effects[i]
		alone := f.Class == ledger.ClassC || f.Class == ledger.ClassD
		if alone && len(wants) > 0 {
			break
		}
		wants = append(wants, ledger.Want{
			Place: t.w.Place, ID: t.id(i), Owner: t.w.owner, Pos: t.Offset, KeyID: t.keyID, Tenant: t.tenant,
			Class: f.Class, Facet: f.Facet, Line: f.Line, FromParked: t.key != nil,
			FromUnknown: t.wish.Kind == ledger.SendAgain, InPlace: t.wish.Kind == ledger.InPlaceOK,
		})
		if alone {
			break
		}
	}
	return wants
}

func (t *task) id(i int) ledger.ID { return ledger.ID{EID: t.eid, Step: t.effects[i].Step()} }

// ruled takes the ledger's answers to wants in (protocol.md 25).
func (k *keyed) ruled(t *task, answers []ledger.Answer) {
	twin := false
	for i, a := range answers {
		id, st := t.id(t.at+i), &t.steps[t.at+i]
		switch a.Ruling {
		case ledger.Ended:
			st.ended = a.State
		case ledger.Twin:
			twin = true
		case ledger.Go:
			st.claimed = true
			if st.doubt = t.w.doubts[id]; st.doubt == nil && a.New && t.Offset < t.w.doubtUntil { // Postgres lost rows (49)
				st.doubt = &doubt{first: a.ClaimedAt, ready: t.w.claimedAt.Add(k.cfg.doubtWait())}
			}
		case ledger.InDoubt:
			st.claimed = true
			if st.doubt = t.w.doubts[id]; st.doubt == nil {
				st.doubt = &doubt{first: a.ClaimedAt, ready: t.w.claimedAt.Add(k.cfg.doubtWait())}
			}
		case ledger.ReadBack:
			st.claimed, st.doubt = true, &doubt{first: a.ClaimedAt}
		}
		if st.doubt != nil {
			t.w.doubts[id] = st.doubt
		}
	}
	switch {
	case !twin:
		k.advance(t)
	case t.w.leaving || t.w.lost:
		k.abandon(t)
	case time.Since(t.began) < verdict.HoldAfter: // waits for the first, and then ends like it
		k.delay(t, copyLook)
	default:
		k.end(
			t,
			&verdict.Error{
				Kind:  verdict.Hold,
				Scope: verdict.ScopeKey,
				Until: time.Now().Add(copyHold),
				Cause: "copy of a record in doubt",
			},
		)
	}
}

// settle ends the doubt about an effect by its class (protocol.md 33-37). Until it is settled
// nothing later of the key is looked at.
func (k *keyed) settle(t *task) {
	f, d := t.effects[t.at], t.steps[t.at].doubt
	keyDead := time.Since(d.first) > k.cfg.KeyLife-keyLifeMargin
	switch {
	case f.Class == ledger.ClassD:
		k.unknown(t, fmt.Errorf("%s may have been carried out", f.Verb))
	case f.Class != ledger.ClassC && !keyDead: // the vendor remembers the key: to an answer
		k.call(t)
	case time.Until(d.ready) > 0:
		k.delay(t, time.Until(d.ready)) // a call may still land (35)
	default:
		k.confirm(t)
	}
}

// unknown parks a record whose effect can be neither confirmed nor sent again.
func (k *keyed) unknown(t *task, why error) {
	k.endStep(t, ledger.End{ID: t.id(t.at), State: ledger.Unknown, Line: t.effects[t.at].Line})
	delete(t.w.doubts, t.id(t.at))
	t.steps[t.at].ended = ledger.Unknown
	k.e.m.effect(t.effects[t.at], "unknown")
	k.end(t, &verdict.Error{Kind: verdict.Park, Cause: "outcome unknown", Err: why})
}

// doubtful keeps the key of a call without a clear answer (protocol.md 30).
func (k *keyed) doubtful(t *task, v *verdict.Error, sent time.Time) {
	st := &t.steps[t.at]
	if st.doubt == nil {
		st.doubt = &doubt{first: sent}
	}
	st.doubt.ready = sent.Add(k.cfg.doubtWait()) // own timeout: from the send (35)
	t.w.doubts[t.id(t.at)] = st.doubt
	k.e.m.effect(t.effects[t.at], "doubt")
	if t.Attempt++; t.Attempt > attemptsMax || t.effects[t.at].Class == ledger.ClassD {
		k.unknown(t, v)
		return
	}
	if t.effects[t.at].Class == ledger.ClassC {
		k.s.say(t.item, v, time.Since(t.began))
		k.advance(t)
		return
	}
	k.again(t, v, backoff(t.Attempt, backoffBase, backoffCap))
}

// later tries a record again that surely was not done.
func (k *keyed) later(t *task, v *verdict.Error) {
	if t.Attempt++; t.Attempt > attemptsMax {
		k.end(t, &verdict.Error{Kind: verdict.Park, Cause: v.Cause + " (attempts spent)", Err: v.Err})
		return
	}
	k.again(t, v, max(v.After, backoff(t.Attempt, backoffBase, backoffCap)))
}

// again waits in memory, or, where it is long, in the queue.
func (k *keyed) again(t *task, v *verdict.Error, after time.Duration) {
	k.s.say(t.item, v, time.Since(t.began))
	if after > verdict.HoldAfter {
		k.end(
			t,
			&verdict.Error{
				Kind:  verdict.Hold,
				Scope: verdict.ScopeKey,
				Until: time.Now().Add(after),
				Cause: v.Cause,
				Err:   v.Err,
			},
		)
		return
	}
	k.delay(t, after)
}

// stall lets the whole partition wait for the world; attempts are not spent. The record keeps its
// place, and what it had claimed and not called.
func (k *keyed) stall(t *task, v *verdict.Error) {
	w := t.w
	if w.leaving || w.lost {
		k.abandon(t)
		return
	}
	k.yield(t)
	w.aside = append(w.aside, t)
	if len(w.aside) > 1 {
		return
	}
	w.stalls++
	w.setStall(stallWork, v.Cause, v)
	k.after(backoff(w.stalls, backoffBase, stallCap), func() {
		for _, t := range w.aside {
			k.ready.push(t)
		}
		w.aside = nil
	})
}

// worked says that the destination answers again.
func (w *window) worked() {
	if w.stalls > 0 {
		w.stalls = 0
		w.resumed(stallWork)
	}
}
