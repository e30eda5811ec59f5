package stream

import (
	"time"

	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

// end brings a record to its end: done (nil), skipped, or into the queue. What it had claimed and
// surely not called is taken back; what is in doubt stays as it is.
func (k *keyed) end(t *task, v *verdict.Error) {
	w := t.w
	k.yield(t)
	w.touch()
	for i := t.at; i < len(t.steps); i++ {
		st := &t.steps[i]
		switch {
		case !st.claimed || st.doubt != nil || st.ended != ledger.None:
		case i == t.at && v != nil && v.Kind == verdict.Park:
			k.endStep(t, ledger.End{ID: t.id(i), State: ledger.Parked, Line: t.effects[i].Line})
		default:
			w.out.Unclaims = append(w.out.Unclaims, ledger.Unclaim{Place: w.Place, ID: t.id(i), Owner: w.owner})
		}
	}
	k.s.report(t.item, v, time.Since(t.began))
	if t.key != nil {
		k.endDrained(t, v)
		return
	}
	t.entry.ended = true
	l := w.lineups[t.keyID]
	l.active = nil
	if v == nil || v.Kind == verdict.Skip {
		w.worked()
		k.next(w, t.keyID)
		return
	}
	w.queue.hold(t.keyID, t.tenant, v, time.Now())
	w.queue.behind(t.keyID)
	w.out.Records = append(w.out.Records, queuedRecord(w.Place, t.item, v.Cause, spent(t.item, v)))
	for _, b := range l.waiting {
		k.behind(w, b.item, b.entry)
	}
	delete(w.lineups, t.keyID)
}

// spent is how many attempts a record has behind it: a hold is not the record's fault (protocol.md 40).
func spent(it *item, v *verdict.Error) int {
	if v.Kind == verdict.Hold {
		return it.Attempt - 1
	}
	return it.Attempt
}

// endStep puts a ledger row's end state into the next turn (protocol.md 31).
func (k *keyed) endStep(t *task, e ledger.End) {
	e.Place, e.Pos, e.KeyID, e.Owner = t.w.Place, t.Offset, t.keyID, t.w.owner
	t.w.out.Ends = append(t.w.out.Ends, e)
	t.w.touch()
}

// abandon lets go of a record of a partition that is being left or is lost. What it had claimed and
// not called is taken back where the token still holds.
func (k *keyed) abandon(t *task) {
	k.yield(t)
	w := t.w
	if w.lost {
		return
	}
	for i := t.at; i < len(t.steps); i++ {
		if st := &t.steps[i]; st.claimed && st.doubt == nil && st.ended == ledger.None {
			st.claimed = false
			w.out.Unclaims = append(w.out.Unclaims, ledger.Unclaim{Place: w.Place, ID: t.id(i), Owner: w.owner})
			w.touch()
		}
	}
}

// leave stops new work of a partition; what runs is finished, and written.
func (k *keyed) leave(w *window) {
	if w == nil || w.leaving {
		return
	}
	w.leaving = true
	if !w.skipped.IsZero() {
		w.touch()
	}
	for _, l := range w.lineups {
		if t := l.active; t != nil && !t.running {
			k.abandon(t)
		}
	}
	k.left(w)
}

// left closes the partition when nothing of it is in hand.
func (k *keyed) left(w *window) {
	if !w.leaving || w.jobs > 0 || w.inTurn || !w.lost && !w.since.IsZero() || k.parts[w.partition] == nil {
		return
	}
	for _, e := range w.entries {
		k.held -= int64(e.bytes)
	}
	k.drains -= w.drains
	delete(k.parts, w.partition)
	close(w.left)
	w.kill()
}

// flight is a turn under way.
type flight struct {
	turn    *ledger.Turn
	windows []*window
	claims  []*task
	counts  []int // wants per claim
	began   time.Time
	res     ledger.Result
	err     error
}

// turn starts the next numbered transaction where one is due: at once where a call waits for its
// claim, after flushAfter where something ended (protocol.md 31). One is under way at a time (6).
func (k *keyed) turn() {
	if k.turning {
		return
	}
	now := time.Now()
	due := len(k.claims) > 0
	for _, w := range k.parts {
		due = due || !w.since.IsZero() && (now.Sub(w.since) >= flushAfter || w.leaving) ||
			!w.skipped.IsZero() && now.Sub(w.skipped) >= skipFlushAfter
	}
	if !due {
		return
	}
	f := &flight{turn: &ledger.Turn{}, began: now}
	for _, t := range k.claims {
		if t.w.leaving || t.w.lost {
			k.abandon(t)
			continue
		}
		wants := t.wants()
		f.claims, f.counts = append(f.claims, t), append(f.counts, len(wants))
		f.turn.Wants = append(f.turn.Wants, wants...)
		t.w.inTurn = true
	}
	k.claims = nil
	for _, w := range k.parts {
		if !w.lost && (w.inTurn || !w.since.IsZero() || !w.skipped.IsZero()) {
			w.fill(f.turn)
			f.windows = append(f.windows, w)
		}
	}
	if len(f.windows) == 0 {
		return
	}
	k.turning = true
	k.s.work.Go(func() {
		f.res, f.err = k.e.commit(k.s.hard, f.turn, func(err error) {
			for _, w := range f.windows {
				w.setStall(stallWork, verdict.Of(err).Cause, err)
			}
		})
		k.post(func() { k.turned(f) })
	})
}

// fill moves what waits into a turn, with the watermark that it makes true: the first position that
// has not ended.
func (w *window) fill(t *ledger.Turn) {
	w.queue.write(&w.out)
	next := w.next
	for _, e := range w.entries {
		if !e.ended {
			break
		}
		next = e.pos + 1
	}
	t.Moves = append(t.Moves, ledger.Move{Place: w.Place, Owner: w.owner, Seq: w.seq + 1, Next: next})
	t.Ends = append(t.Ends, w.out.Ends...)
	t.Unclaims = append(t.Unclaims, w.out.Unclaims...)
	t.Guards = append(t.Guards, w.out.Guards...)
	t.Freed = append(t.Freed, w.out.Freed...)
	t.Keys = append(t.Keys, w.out.Keys...)
	t.Records = append(t.Records, w.out.Records...)
	t.Marks = append(t.Marks, w.out.Marks...)
	t.Discards = append(t.Discards, w.out.Discards...)
	t.Readbacks = append(t.Readbacks, w.out.Readbacks...)
	t.Wakes = append(t.Wakes, w.out.Wakes...)
	w.out, w.since, w.skipped, w.inTurn = ledger.Turn{}, time.Time{}, time.Time{}, true
}

// turned takes a turn's result in.
func (k *keyed) turned(f *flight) {
	k.turning = false
	for i, w := range f.windows {
		w.inTurn = false
		m := f.turn.Moves[i]
		switch {
		case f.err != nil: // as if the process had died
			w.lost = true
			k.s.reopen(w.partition, f.err)
		case f.res.Fates[w.Place] == ledger.Fenced:
			w.lostTurn(f.turn)
			k.fenced(w)
		default:
			w.seq, w.next = m.Seq, m.Next
			w.stored.Store(m.Next)
			w.numbered.Store(m.Seq)
			w.queue.written()
			w.sawToken(f.began)
			w.resumed(stallWork)
			k.trim(w)
		}
	}
	at := 0
	for i, t := range f.claims {
		answers := f.res.Answers
		n := f.counts[i]
		if t.w.lost {
			k.abandon(t)
		} else {
			k.ruled(t, answers[at:at+n])
		}
		at += n
	}
	for _, w := range f.windows {
		k.left(w)
	}
}

// lostTurn keeps the ends of a refused turn, so that they become evidence.
func (w *window) lostTurn(t *ledger.Turn) {
	for _, e := range t.Ends {
		if e.Place == w.Place {
			w.out.Ends = append(w.out.Ends, e)
		}
	}
}

// trim forgets the positions below the stored watermark.
func (k *keyed) trim(w *window) {
	n := 0
	for n < len(w.entries) && w.entries[n].pos < w.next {
		k.held -= int64(w.entries[n].bytes)
		n++
	}
	w.entries = w.entries[n:]
	k.grant(w)
}
