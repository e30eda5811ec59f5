package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conveyance/internal/fault"
	"conveyance/internal/ledger"
	"conveyance/internal/observe"
	"conveyance/internal/verdict"
)

// evidenceTimeout bounds the writing of evidence, which nothing waits for.
const evidenceTimeout = 5 * time.Second

// call makes the call of the effect in hand. Last before it the token is looked at, at most
// fenceAge old (protocol.md 28), and the deadline counts from that look (29).
func (k *keyed) call(t *task) {
	if !t.calling {
		k.calls.push(t)
		return
	}
	f := t.effects[t.at]
	k.job(t, func(ctx context.Context) func() {
		sent, err := k.fence(ctx, t.w.partition)
		if errors.Is(err, errFenced) {
			return func() { k.fenced(t.w); k.abandon(t) } //nolint:contextcheck // evidence outlives the session
		}
		if err != nil {
			return func() { k.stall(t, &verdict.Error{Kind: verdict.Stall, Cause: "postgres unavailable", Err: err}) }
		}
		ctx, cancel := context.WithDeadline(ctx, sent.Add(k.cfg.CallDeadline))
		defer cancel()
		receipt, err := k.apply(ctx, t.Record, f)
		return func() { k.hangUp(t); k.called(t, sent, receipt, err) } //nolint:contextcheck // evidence outlives the session
	})
}

// fence returns the time of the look that allows a call now.
func (k *keyed) fence(ctx context.Context, p *partition) (time.Time, error) {
	for ctx.Err() == nil {
		now := time.Now()
		if p.fresh(now) || fault.Broken("epoch not checked before the call") {
			return now, nil
		}
		owner, err := k.e.store.Owner(ctx, p.Place)
		if err != nil {
			return now, err
		}
		if owner != p.owner {
			return now, errFenced
		}
		p.sawToken(now)
	}
	return time.Time{}, ctx.Err()
}

// apply makes the call. A panic may have come after the send, so it is no verdict.
func (k *keyed) apply(ctx context.Context, r *Record, f ledger.Effect) (receipt ledger.Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic %T at %s", p, panicPlace())
		}
	}()
	if err := fault.At("call.before"); err != nil {
		return receipt, err
	}
	if receipt, err = k.h.Apply(ctx, r, f); err != nil {
		return receipt, err
	}
	return receipt, fault.At("call.after")
}

// called takes the outcome of a call in. An error that does not say that nothing was done is a
// doubt (protocol.md 30).
func (k *keyed) called(t *task, sent time.Time, receipt ledger.Receipt, err error) {
	if t.w.lost {
		k.evidence(t.w, []ledger.Evidence{{EID: t.eid, Step: t.id(t.at).Step, Outcome: outcome(receipt, err)}})
		k.abandon(t)
		return
	}
	v, marked := errors.AsType[*verdict.Error](err)
	switch {
	case err == nil:
		t.w.worked()
		k.inPlace(t, receipt, "applied")
	case !marked:
		k.doubtful(t, &verdict.Error{Kind: verdict.Doubt, Cause: "unmarked", Err: err}, sent)
	case v.Kind == verdict.Doubt:
		k.doubtful(t, v, sent)
	case v.Kind == verdict.Retry:
		k.e.m.effect(t.effects[t.at], "retry")
		k.later(t, v)
	case v.Kind == verdict.Stall:
		k.e.m.effect(t.effects[t.at], "stall")
		k.stall(t, v)
	case v.Kind == verdict.Skip:
		t.steps[t.at].ended = ledger.Superseded
		k.endStep(t, ledger.End{ID: t.id(t.at), State: ledger.Superseded, Line: v.Cause})
		delete(t.w.doubts, t.id(t.at))
		k.advance(t)
	case v.Kind == verdict.Park:
		t.w.worked()
		delete(t.w.doubts, t.id(t.at)) // an answer, also to the key of an earlier call
		t.steps[t.at].doubt = nil
		k.e.m.effect(t.effects[t.at], "parked")
		k.end(t, v)
	default:
		t.w.worked()
		k.e.m.effect(t.effects[t.at], v.Kind.String())
		k.end(t, v)
	}
}

func outcome(receipt ledger.Receipt, err error) string {
	if err != nil {
		return "no clear answer: " + verdict.Of(err).Cause
	}
	return "applied " + receipt.Ref
}

// inPlace ends an effect that is in place.
func (k *keyed) inPlace(t *task, receipt ledger.Receipt, how string) {
	f, id, st := t.effects[t.at], t.id(t.at), &t.steps[t.at]
	if receipt.NoOp {
		how = "noop"
	}
	k.e.m.effect(f, how)
	k.endStep(t, ledger.End{ID: id, State: ledger.Applied, Ref: receipt.Ref, Line: f.Line})
	if f.Facet.Resource != "" {
		t.w.out.Guards = append(t.w.out.Guards, ledger.Guard{Place: t.w.Place, Facet: f.Facet, EID: t.eid})
	}
	if receipt.Wake != "" {
		t.w.out.Wakes = append(t.w.out.Wakes, ledger.Healed{Place: t.w.Place, Scope: receipt.Wake})
	}
	if st.readBack {
		t.w.out.Readbacks = append(t.w.out.Readbacks, ledger.Readback{
			Place: t.w.Place, ID: id, Pos: t.Offset,
			Due: time.Now().Add(readbackFirst), Round: 1,
		})
	}
	delete(t.w.doubts, id)
	st.ended = ledger.Applied
	t.applied++
	t.at++
	k.advance(t)
}

// confirm reads an effect in doubt back.
func (k *keyed) confirm(t *task) {
	f := t.effects[t.at]
	k.job(t, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, k.cfg.CallDeadline)
		defer cancel()
		var found ledger.Outcome
		err := guarded(func() (err error) { found, err = k.h.Confirm(ctx, t.Record, f); return err })
		return func() { k.confirmed(t, found, err) } //nolint:contextcheck // evidence outlives the session
	})
}

func (k *keyed) confirmed(t *task, found ledger.Outcome, err error) {
	if t.w.lost {
		k.abandon(t)
		return
	}
	v := verdict.Of(err)
	switch {
	case v != nil && v.Kind == verdict.Stall:
		k.stall(t, v)
	case v != nil && v.Kind == verdict.Hold:
		k.end(t, v) // its row stays claimed: in doubt stays in doubt (protocol.md 40)
	case v == nil && found == ledger.InPlace:
		k.inPlace(t, ledger.Receipt{}, "confirmed")
	case v == nil && found == ledger.Doubled:
		k.flag(t.w, t.id(t.at), "found twice when read back")
		k.inPlace(t, ledger.Receipt{}, "doubled")
	case v == nil && found == ledger.NotInPlace:
		delete(t.w.doubts, t.id(t.at))
		t.steps[t.at].doubt, t.steps[t.at].readBack = nil, true
		k.advance(t)
	default:
		if v == nil {
			v = &verdict.Error{Kind: verdict.Doubt, Cause: "not seen when read back"}
		}
		if t.confirms++; t.confirms >= confirmsMax || t.Attempt > attemptsMax {
			k.unknown(t, v)
			return
		}
		k.again(t, v, backoff(t.confirms+2, backoffBase, verdict.HoldAfter))
	}
}

// flag leaves evidence that a person must see.
func (k *keyed) flag(w *window, id ledger.ID, what string) {
	w.log().Error("effect.doubled", observe.EventID(id.EID.String()), observe.Cause(what))
	k.evidence(w, []ledger.Evidence{{EID: id.EID, Step: id.Step, Outcome: what}})
}

// evidence is written with no fence, and in time or never (protocol.md 32).
func (k *keyed) evidence(w *window, rows []ledger.Evidence) {
	if len(rows) == 0 {
		return
	}
	for i := range rows {
		rows[i].Owner = w.owner
	}
	k.s.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(k.s.hard), evidenceTimeout)
		defer cancel()
		for n := 1; ; n++ {
			err := k.e.store.WriteEvidence(ctx, rows)
			if err == nil {
				return
			}
			if !wait(ctx, backoff(n, backoffBase, stallCap)) {
				w.log().Error("evidence.lost", observe.Err(err))
				return
			}
		}
	})
}

// fenced drops a partition whose token is lost: no call any more, and what was called is evidence.
func (k *keyed) fenced(w *window) {
	if w.lost {
		return
	}
	w.lost = true
	var rows []ledger.Evidence
	for _, e := range w.out.Ends {
		rows = append(rows, ledger.Evidence{EID: e.EID, Step: e.Step, Outcome: e.State.String() + ", not recorded"})
	}
	k.evidence(w, rows)
	w.out = ledger.Turn{}
	k.s.fenced(w.partition)
}
