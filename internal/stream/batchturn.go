package stream

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

var errNoAck = errors.New("a produced batch waits for its acknowledgement")

// commit moves the offset together with the handler's rows and the queue (protocol.md 9).
func (w *worker) commit(ctx context.Context, items []*item) error {
	t := w.turn(items)
	res, err := w.e.commit(ctx, t, func(err error) { w.setStall(stallWork, verdict.Of(err).Cause, err) })
	if err != nil {
		return w.undo(ctx, err)
	}
	if res.Fates[w.Place] == ledger.Fenced {
		w.over = true
		w.s.fenced(w.partition)
		return errFenced
	}
	w.seq, w.next = t.Moves[0].Seq, t.Moves[0].Next
	w.stored.Store(w.next)
	w.numbered.Store(w.seq)
	w.queue.written()
	for _, it := range items {
		w.report(it)
	}
	return nil
}

var errFenced = errors.New("another owner has claimed the partition")

// turn writes down what the records came to, and moves the queue in memory along.
func (w *worker) turn(items []*item) *ledger.Turn {
	now := time.Now()
	t := &ledger.Turn{Moves: []ledger.Move{{Place: w.Place, Owner: w.owner, Seq: w.seq + 1, Next: w.next}}}
	if len(w.batch.commits) > 0 {
		t.Write = w.batch.Write
	}
	for _, it := range items {
		v, _ := w.verdict(it)
		k := w.queue.keys[it.keyID]
		switch {
		case it.Queued:
			if k != nil { // else a record of the key was dropped together with its place in memory
				w.drained(t, it, k, v, now)
			}
			continue
		case it.queued:
		case k != nil:
			w.queue.behind(it.keyID)
			t.Records = append(t.Records, queuedRecord(w.Place, it, behind, 0))
		case v != nil && v.Kind != verdict.Skip:
			w.queue.hold(it.keyID, it.tenant, v, now)
			w.queue.behind(it.keyID)
			t.Records = append(t.Records, queuedRecord(w.Place, it, v.Cause, it.Attempt))
		}
		t.Moves[0].Next = it.Offset + 1
	}
	if w.crowded = w.queue.full(); w.crowded {
		w.setStall(stallWork, "too many records wait behind one key", errors.New("drain or drop its queue"))
	}
	w.queue.write(t)
	return t
}

// drained is what a record of the queue came to. Those behind a held one stay as they are.
func (w *worker) drained(t *ledger.Turn, it *item, k *waiting, v *verdict.Error, now time.Time) {
	if !k.drain {
		return // held back again by one before it
	}
	if healed(k, v) && w.queue.passed(k) {
		t.Wakes = append(t.Wakes, ledger.Healed{Place: w.Place, Scope: k.Scope})
	}
	mark := ledger.Mark{Place: w.Place, Pos: it.Offset, State: ledger.RecordDone, Cause: "", Attempts: it.Attempt}
	if v == nil || v.Kind == verdict.Skip {
		if v != nil && v.Cause == dropped {
			mark.State, mark.Cause = ledger.RecordDropped, dropped
		}
		w.queue.ended(k)
	} else {
		mark.State, mark.Cause = ledger.RecordOpen, v.Cause
		if v.Kind == verdict.Hold && v.Scope != verdict.ScopeKey {
			mark.Attempts-- // the scope's fault, not the record's (protocol.md 40)
		}
		w.queue.hold(it.keyID, it.tenant, v, now)
	}
	t.Marks = append(t.Marks, mark)
}

// healed is true where a drained record came to something else than its key's hold.
func healed(k *waiting, v *verdict.Error) bool {
	return v == nil || v.Kind != verdict.Hold || v.Scope != k.Scope
}

// undo reads the queue anew after a turn that was not written: memory ran ahead of it.
func (w *worker) undo(ctx context.Context, err error) error {
	m, ok := insist(ctx, w.partition, func() (map[ledger.Place]*ledger.Memory, error) {
		return w.e.store.Read(ctx, []ledger.Place{w.Place})
	})
	if ok {
		w.queue = newQueue(w.Place, m[w.Place].Keys)
	}
	return err
}

// drain works on one key of the queue whose time has come; it returns true where there was one.
func (w *worker) drain(ctx context.Context) bool {
	due := w.queue.due(time.Now(), 1)
	if len(due) == 0 {
		return false
	}
	k := due[0]
	wish := k.wish
	k.wish = ledger.Wish{}
	records, ok := insist(ctx, w.partition, func() ([]ledger.QueuedRecord, error) {
		return w.e.store.QueuedRecords(ctx, w.Topic, []string{k.KeyID}, drainRecords)
	})
	var items []*item
	for _, q := range records {
		it := unqueued(q)
		if wish.Kind == ledger.Drop && wish.Pos == q.Pos {
			it.keyID, it.decided = q.KeyID, &verdict.Error{Kind: verdict.Skip, Cause: dropped}
		} else if !w.decode(ctx, it) {
			return false
		}
		items = append(items, it)
	}
	w.settle(ctx, items)
	if k = w.queue.keys[k.KeyID]; k != nil && k.drain {
		k.drain, k.Due = false, time.Now() // more of it is in the queue: its turn comes again
		if ok && len(items) == 0 {         // its records are gone: somebody mended the tables by hand
			k.Due = time.Now().Add(pulseEvery)
		}
	}
	return ok
}

// dropped is the cause of a record that a person gave up.
const dropped = "dropped by a person"

// report says once, and counts, what a record came to.
func (w *worker) report(it *item) {
	v, waits := w.verdict(it)
	switch {
	case it.queued:
		return
	case waits && it.Queued:
		return // it was counted when it came
	case waits:
		v = &verdict.Error{Kind: verdict.Hold, Cause: behind}
	}
	w.s.report(it, v, 0)
}

// guarded runs fn; a panic becomes a parked verdict that names the place and not the value, which
// may hold anything.
func guarded(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = verdict.Parked("handler panicked", fmt.Errorf("panic %T at %s", r, panicPlace()))
		}
	}()
	return fn()
}

// panicPlace is the first frame below the runtime's.
func panicPlace() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") || !more {
			return fmt.Sprintf("%s:%d", f.Function, f.Line)
		}
	}
}
