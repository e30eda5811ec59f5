package stream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"conveyance/internal/fault"
	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

const (
	// feedRecords is how many records of a partition are decoded at once.
	feedRecords = 100
	// windowBytes bounds what all windows of a process hold, beside their count: a process has
	// 128 MiB, and a decoded deal takes several times its bytes.
	windowBytes = 12 << 20
	// ahead is the part of Concurrency that is planned and claimed beside the calls, so that the next
	// call waits for no transaction.
	ahead = 2
	// otherTenants is the part of the slots that one tenant may never take, so that the next one
	// does not wait for a slow tenant's calls.
	otherTenants = 16
)

// keyed is the lane of keyed handlers. One goroutine owns everything here and in the partitions;
// whatever happens elsewhere comes in as a function that it runs.
type keyed struct {
	s   *session
	e   *Engine
	cfg Config
	h   KeyedHandler

	events chan func()
	done   chan struct{}
	closed bool
	parts  map[*partition]*window

	ready   ring    // records whose turn it is, tenants in turn
	slots   int     // records being planned, claimed or called
	calls   ring    // those of them that wait for a call to end, tenants in turn
	calling int     // calls under way
	claims  []*task // that ask the next turn for their claim
	turning bool    // one numbered transaction at a time (protocol.md 6)
	held    int64   // bytes in windows
	drains  int     // keys whose queue is being drained
	looked  time.Time
}

func newKeyed(s *session, h KeyedHandler) lane {
	k := &keyed{
		s: s, e: s.e, cfg: s.e.cfg, h: h, events: make(chan func()), done: make(chan struct{}),
		parts: map[*partition]*window{}, ready: newRing(), calls: newRing(),
	}
	s.work.Go(k.run)
	return k
}

func (k *keyed) run() {
	defer close(k.done)
	tick := time.NewTicker(flushAfter / 2)
	defer tick.Stop()
	for !k.closed {
		select {
		case fn := <-k.events:
			fn()
		case <-tick.C:
		}
		k.lookAtQueues()
		k.dispatch()
		k.dial()
		k.turn()
	}
}

// post hands fn to the lane's goroutine; after its end fn is not run.
func (k *keyed) post(fn func()) {
	select {
	case k.events <- fn:
	case <-k.done:
	}
}

func (k *keyed) after(d time.Duration, fn func()) { time.AfterFunc(d, func() { k.post(fn) }) }

func (k *keyed) add(p *partition) {
	ctx, kill := context.WithCancel(k.s.hard)
	p.kill = kill
	k.post(func() {
		w := &window{partition: p, lineups: map[string]*lineup{}, doubts: map[ledger.ID]*doubt{}}
		foreign := map[string][]ledger.ID{}
		for _, b := range p.busy {
			// Their calls may still be under way until T after our claim (protocol.md 3, 35).
			w.doubts[b.ID] = &doubt{first: b.ClaimedAt, ready: p.claimedAt.Add(k.cfg.doubtWait())}
			if b.Pos < p.next && p.queue.keys[b.KeyID] == nil {
				foreign[b.KeyID] = append(foreign[b.KeyID], b.ID)
			}
		}
		p.mu.Lock()
		p.foreign = foreign
		p.mu.Unlock()
		k.parts[p] = w
		if p.leaving() {
			k.leave(w)
		}
	})
	k.s.work.Go(func() { k.feed(ctx, p) })
}

// feed decodes what was fetched, beside the lane's goroutine, and waits for room in the window.
func (k *keyed) feed(ctx context.Context, p *partition) {
	for !p.leaving() && ctx.Err() == nil {
		if items := p.read(ctx, feedRecords); len(items) > 0 {
			room := make(chan struct{})
			k.post(func() { k.accept(p, items, room) })
			select {
			case <-room:
			case <-p.leave:
			case <-k.done:
				return
			}
			continue
		}
		select {
		case <-p.signal:
		case <-p.leave:
		case <-ctx.Done():
		}
	}
}

func (k *keyed) accept(p *partition, items []*item, room chan struct{}) {
	w := k.parts[p]
	if w == nil || w.leaving || w.lost {
		return
	}
	for _, it := range items {
		e := &entry{pos: it.Offset, bytes: len(it.Value)}
		w.entries = append(w.entries, e)
		k.held += int64(e.bytes)
		if w.queue.keys[it.keyID] != nil && fault.Broken("retry topic without key lock") {
			it.keyID += strconv.FormatInt(it.Offset, 10)
		}
		switch {
		case it.queued: // handled by the queue, never live (protocol.md 39)
			k.pass(w, e)
		case w.queue.keys[it.keyID] != nil:
			k.behind(w, it, e)
		default:
			t := k.task(w, it)
			t.entry = e
			w.line(t)
			k.next(w, t.keyID)
		}
	}
	w.room = room
	k.grant(w)
}

// grant lets the feeder go on where there is room.
func (k *keyed) grant(w *window) {
	if w.room == nil || w.crowded {
		return
	}
	if len(w.entries) == 0 ||
		len(w.entries)+feedRecords <= max(k.cfg.WindowRecords, feedRecords) && k.held < windowBytes {
		close(w.room)
		w.room = nil
	}
}

func (k *keyed) task(w *window, it *item) *task {
	t := &task{item: it, w: w, began: time.Now()}
	if it.decided == nil {
		eid, err := eventID(it.Record)
		if err != nil {
			it.decided = &verdict.Error{Kind: verdict.Park, Cause: "event id unreadable", Err: err}
		}
		t.eid = eid
	}
	return t
}

func (w *window) line(t *task) {
	l := w.lineups[t.keyID]
	if l == nil {
		l = &lineup{}
		w.lineups[t.keyID] = l
	}
	l.waiting = append(l.waiting, t)
}

// next makes a key's next record ready, where none of it is in hand.
func (k *keyed) next(w *window, keyID string) {
	l := w.lineups[keyID]
	switch {
	case l == nil || l.active != nil:
	case len(l.waiting) == 0:
		delete(w.lineups, keyID)
	default:
		l.active, l.waiting = l.waiting[0], l.waiting[1:]
		k.ready.push(l.active)
	}
}

// pass ends a position that needs nothing written.
func (k *keyed) pass(w *window, e *entry) {
	e.ended = true
	if w.skipped.IsZero() {
		w.skipped = time.Now()
	}
}

// behind appends a live record to its waiting key.
func (k *keyed) behind(w *window, it *item, e *entry) {
	w.out.Records = append(w.out.Records, queuedRecord(w.Place, it, behind, 0))
	w.queue.behind(it.keyID)
	if w.queue.keys[it.keyID].Count >= keyRecordsMax {
		w.crowded = true
		w.setStall(stallRead, "too many records wait behind one key", errors.New("drain or drop its queue"))
	}
	e.ended = true
	w.touch()
	k.s.report(it, &verdict.Error{Kind: verdict.Hold, Cause: behind}, 0)
}

// touch says that something waits to be written.
func (w *window) touch() {
	if w.since.IsZero() {
		w.since = time.Now()
	}
}

// dispatch gives free slots to ready records, tenants in turn.
func (k *keyed) dispatch() {
	slots := k.cfg.Concurrency + k.cfg.Concurrency/ahead
	for k.slots < slots {
		t := k.ready.next(slots - slots/otherTenants)
		if t == nil {
			return
		}
		w := t.w
		switch {
		case w.leaving || w.lost:
			k.abandon(t)
		case len(w.aside) > 0: // the partition is stalled
			w.aside = append(w.aside, t)
		case w.isForeign(t.keyID): // another lane's call may be under way (protocol.md 3)
			k.after(queueLook, func() { k.ready.push(t) })
		default:
			k.slots++
			t.slot = true
			k.ready.hold(t.tenant)
			k.advance(t)
		}
	}
}

// dial lets waiting records call, tenants in turn.
func (k *keyed) dial() {
	for k.calling < k.cfg.Concurrency {
		t := k.calls.next(k.cfg.Concurrency - k.cfg.Concurrency/otherTenants)
		if t == nil {
			return
		}
		switch w := t.w; {
		case w.leaving || w.lost:
			k.abandon(t)
		case len(w.aside) > 0:
			k.yield(t)
			w.aside = append(w.aside, t)
		default:
			k.calling++
			t.calling = true
			k.calls.hold(t.tenant)
			k.advance(t)
		}
	}
}

// hangUp lets the next one call.
func (k *keyed) hangUp(t *task) {
	if t.calling {
		t.calling = false
		k.calling--
		k.calls.release(t.tenant)
	}
}

// yield gives a record's slot back.
func (k *keyed) yield(t *task) {
	k.hangUp(t)
	if t.slot {
		t.slot = false
		k.slots--
		k.ready.release(t.tenant)
	}
}

// delay lets a record wait in memory; it keeps its key, not its slot.
func (k *keyed) delay(t *task, d time.Duration) {
	if t.w.leaving || t.w.lost {
		k.abandon(t)
		return
	}
	k.yield(t)
	k.after(d, func() { k.ready.push(t) })
}

// remove finishes what is in hand of p and writes it.
func (k *keyed) remove(p *partition, limit time.Duration) {
	k.post(func() { k.leave(k.parts[p]) })
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.left:
	case <-k.done:
	case <-t.C:
		k.post(func() {
			if w := k.parts[p]; w != nil {
				w.lost = true
			}
		})
		p.kill()
	}
}

func (k *keyed) close() { k.post(func() { k.closed = true }) }
