package stream

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/fault"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

const (
	// batchTries is how often a batch is tried whole before its records go one by one, to find the
	// one that is to blame.
	batchTries = 3
	// drainRecords is how many records of a key come out of the queue at once.
	drainRecords = 10
	// queueLook is how often a lane looks whether a key's time has come.
	queueLook = 100 * time.Millisecond
	// slotWait is how long a partition waits for others before it works beside them all the same: one
	// that stalls in the middle of a batch must not keep them waiting.
	slotWait = 250 * time.Millisecond
	// slowProduce is when a produce that is not acknowledged is told as a stall.
	slowProduce = 5 * time.Second
)

// batches is the lane of batch handlers: a goroutine per partition.
type batches struct {
	s     *session
	h     BatchHandler
	slots chan struct{} // taken by those that work on a batch
}

// newBatches lets a partition compute per processor while others write. The batches of the rest grow
// meanwhile: a transaction costs little more for 500 records than for 50.
func newBatches(s *session, h BatchHandler) lane {
	return &batches{s: s, h: h, slots: make(chan struct{}, runtime.GOMAXPROCS(0)+producers)}
}

func (l *batches) add(p *partition) {
	ctx, kill := context.WithCancel(l.s.hard)
	p.kill = kill
	l.s.work.Go(func() {
		defer kill()
		(&worker{partition: p, e: l.s.e, h: l.h, slots: l.slots}).run(ctx)
	})
}

func (l *batches) remove(p *partition, limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.left:
	case <-t.C:
		p.kill()
		<-p.left // or a later claim's worker would run beside it
	}
}

func (l *batches) sweep([]ledger.Readback) {} // class A is never sent

func (l *batches) close() {}

// worker is one partition under a batch handler. All of it runs in one goroutine.
type worker struct {
	*partition
	e      *Engine
	h      BatchHandler
	slots  chan struct{}
	tries  int  // failed ones of the batch in hand
	single int  // how many records still go one by one
	over   bool // the token is lost
	// crowded: a key has as many records waiting as it may, so that none is read live.
	crowded bool
	batch   *Batch // of the attempt under way
}

func (w *worker) run(ctx context.Context) {
	defer close(w.left)
	defer w.forget()
	for !w.over && !w.leaving() && ctx.Err() == nil {
		for _, wish := range w.takeWishes() {
			w.queue.wish(wish)
		}
		busy := w.drain(ctx)
		if w.crowded = w.crowded && !busy; !w.crowded {
			busy = w.live(ctx) || busy
		}
		w.setHeld(w.queue.counts())
		if busy {
			continue
		}
		var look <-chan time.Time
		if len(w.queue.keys) > 0 {
			look = time.After(queueLook)
		}
		select {
		case <-w.signal:
		case <-look:
		case <-w.leave:
		case <-ctx.Done():
		}
	}
}

// live works on what has come; it returns false where nothing had.
func (w *worker) live(ctx context.Context) bool {
	if w.empty() {
		return false
	}
	t := time.NewTimer(slotWait)
	defer t.Stop()
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-t.C:
	case <-w.leave:
	}
	items := w.read(ctx, w.e.cfg.BatchRecords)
	w.settle(ctx, items)
	return len(items) > 0
}

// settle brings records to their end, in order: together, and one by one where they fail together.
func (w *worker) settle(ctx context.Context, items []*item) {
	w.tries, w.single = 0, 0
	for len(items) > 0 && !w.over {
		n := len(items)
		if w.single > 0 {
			n = 1
		}
		done, err := w.attempt(ctx, items[:n])
		if err == nil {
			items = items[done:]
			w.tries, w.single = 0, max(0, w.single-done)
			w.resumed(stallWork)
			continue
		}
		w.forget()
		if w.over || ctx.Err() != nil || !w.judge(ctx, items[:n], err) {
			return
		}
	}
}

// judge decides what a failed attempt means: wait and try again, try one by one, or, where one
// record is left, that record's verdict. It returns false where the partition is being left.
func (w *worker) judge(ctx context.Context, items []*item, err error) bool {
	v := verdict.Of(postgres.Classify(err))
	w.tries++
	switch {
	case v.Kind == verdict.Stall:
		return w.stalled(ctx, stallWork, w.tries, v.Cause, err)
	case v.Kind != verdict.Park && v.Kind != verdict.Hold && v.Kind != verdict.Skip && w.tries < batchTries:
		return w.stalled(ctx, stallWork, w.tries, v.Cause, err)
	case len(items) > 1:
		w.single, w.tries = len(items), 0
		return !w.leaving()
	case v.Kind == verdict.Park, v.Kind == verdict.Hold, v.Kind == verdict.Skip:
		items[0].decided = v
	default:
		items[0].decided = laterOrNever(v, items[0].Attempt, time.Now())
	}
	return !w.leaving()
}

// laterOrNever is a retry that no longer waits in memory: in the queue until its time, or, when
// its attempts are spent, until a person looks.
func laterOrNever(v *verdict.Error, attempt int, now time.Time) *verdict.Error {
	if attempt >= attemptsMax {
		return &verdict.Error{Kind: verdict.Park, Cause: v.Cause + " (attempts spent)", Err: v.Err}
	}
	after := max(v.After, backoff(attempt, backoffBase, backoffCap))
	return &verdict.Error{Kind: verdict.Hold, Cause: v.Cause, Scope: verdict.ScopeKey, Until: now.Add(after), Err: v.Err}
}

// attempt takes records through handler, produce and commit, in this order (protocol.md 8). It
// returns how many of them came to their end; on an error none did.
func (w *worker) attempt(ctx context.Context, items []*item) (int, error) {
	w.open(items)
	b := w.batch
	if len(b.records) > 0 {
		if err := guarded(func() error { return w.h.Handle(ctx, b) }); err != nil {
			return 0, err
		}
	}
	n, err := w.judged(items)
	if err != nil {
		return 0, err
	}
	if n < len(items) { // the handler went past a record that it then held back
		w.forget()
		return w.attempt(ctx, items[:n])
	}
	outs, again, err := w.encode(ctx, items)
	if err != nil {
		return 0, err
	}
	if again { // a record's outputs fit no topic: without them the others come out differently
		w.forget()
		return w.attempt(ctx, items)
	}
	if fault.Broken("commit before effect") {
		return len(items), errors.Join(w.commit(ctx, items), w.produce(ctx, outs))
	}
	if err := w.produce(ctx, outs); err != nil {
		return 0, err
	}
	return len(items), w.commit(ctx, items)
}

// open makes the batch of those records that the handler decides about.
func (w *worker) open(items []*item) {
	blocked := map[string]bool{}
	var records []*Record
	for _, it := range items {
		it.at = -1
		switch {
		case it.queued, blocked[it.keyID], !it.Queued && w.queue.keys[it.keyID] != nil:
		case it.decided != nil:
			blocked[it.keyID] = it.decided.Kind != verdict.Skip
		default:
			it.at = len(records)
			records = append(records, it.Record)
		}
	}
	w.batch = NewBatchOf(w.Topic, w.Part, records...)
}

// judged checks the handler's verdicts. It returns the number of leading records that may be
// settled together: a record of a key that was held back earlier in the batch, and handled all the
// same, must not be among them.
func (w *worker) judged(items []*item) (int, error) {
	blocked := map[string]bool{}
	for i, it := range items {
		if it.at < 0 {
			continue
		}
		r := w.batch.results[it.at]
		switch {
		case r.Behind:
		case r.Verdict != nil && (r.Verdict.Kind == verdict.Stall || r.Verdict.Kind == verdict.Doubt):
			return 0, r.Verdict
		case blocked[it.keyID]:
			return i, nil
		case r.Verdict != nil && r.Verdict.Kind != verdict.Skip:
			blocked[it.keyID] = true
		}
	}
	return len(items), nil
}

// verdict is what a record came to; behind is true where it waits for one before it.
func (w *worker) verdict(it *item) (v *verdict.Error, behind bool) {
	if it.at < 0 {
		return it.decided, it.decided == nil && !it.queued
	}
	r := w.batch.results[it.at]
	if v = r.Verdict; v != nil && v.Kind == verdict.Retry {
		v = laterOrNever(v, it.Attempt, time.Now())
	}
	return v, r.Behind
}

// encode frames what the records emit; again is true where a record turned out to be too large, and
// is decided now.
func (w *worker) encode(ctx context.Context, items []*item) (outs []*kgo.Record, again bool, err error) {
	for _, it := range items {
		if v, behind := w.verdict(it); it.at < 0 || v != nil || behind {
			continue
		}
		for _, o := range w.batch.results[it.at].Outs {
			r, err := w.s.enc.encode(ctx, it.Record, o)
			v, marked := errors.AsType[*verdict.Error](err)
			if marked && v.Kind == verdict.Park {
				it.decided, again = v, true
				break
			}
			if err != nil {
				return nil, false, err
			}
			outs = append(outs, r)
		}
	}
	return outs, again, nil
}

func (w *worker) produce(ctx context.Context, outs []*kgo.Record) error {
	if len(outs) == 0 {
		return nil
	}
	slow := time.AfterFunc(slowProduce, func() { w.setStall(stallWork, "kafka does not acknowledge", errNoAck) })
	defer slow.Stop()
	if err := fault.At("produce.before"); err != nil {
		return err
	}
	if err := w.s.outs[int(w.Part)%len(w.s.outs)].produce(ctx, outs); err != nil {
		return err
	}
	return fault.At("produce.after")
}

func (w *worker) forget() {
	if f, ok := w.h.(Forgetter); ok {
		f.Forget(w.Topic, w.Part)
	}
}
