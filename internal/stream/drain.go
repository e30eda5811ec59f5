package stream

import (
	"context"
	"time"

	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

// drainKeys is how many keys' records come out of a queue in one read.
const drainKeys = 16

// lookAtQueues starts the draining of keys whose time has come: due, asked for, or woken
// (protocol.md 39). Drained records take their turns beside live ones.
func (k *keyed) lookAtQueues() {
	now := time.Now()
	if now.Sub(k.looked) < queueLook {
		return
	}
	k.looked = now
	for p, w := range k.parts {
		for _, wish := range p.takeWishes() {
			w.queue.wish(wish)
		}
		if len(w.queue.keys) == 0 && p.heldCounts() == nil {
			continue
		}
		p.setHeld(w.queue.counts())
		if w.leaving || w.lost || w.loading || len(w.aside) > 0 {
			continue
		}
		if n := min(drainKeys, k.cfg.Concurrency-k.drains); n > 0 {
			k.load(w, w.queue.due(now, n))
		}
	}
}

// drained gives the place of a key back that is no longer being drained.
func (k *keyed) drained(w *window) { w.drains, k.drains = w.drains-1, k.drains-1 }

// load reads the first records of keys.
func (k *keyed) load(w *window, keys []*waiting) {
	if len(keys) == 0 {
		return
	}
	w.loading = true
	w.jobs++
	w.drains, k.drains = w.drains+len(keys), k.drains+len(keys)
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = key.KeyID
	}
	k.s.work.Go(func() {
		items, ok := k.unqueue(k.s.hard, w.partition, ids)
		k.post(func() {
			w.jobs--
			w.loading = false
			for _, key := range keys {
				k.loaded(w, key, items[key.KeyID], ok)
			}
			k.left(w)
		})
	})
}

func (k *keyed) unqueue(ctx context.Context, p *partition, ids []string) (map[string][]*item, bool) {
	records, ok := insist(ctx, p, func() ([]ledger.QueuedRecord, error) {
		return k.e.store.QueuedRecords(ctx, p.Topic, ids, drainRecords)
	})
	items := map[string][]*item{}
	for _, q := range records {
		it := unqueued(q)
		if !p.decode(ctx, it) {
			return nil, false
		}
		items[q.KeyID] = append(items[q.KeyID], it)
	}
	return items, ok
}

// loaded lines a key's records up.
func (k *keyed) loaded(w *window, key *waiting, items []*item, ok bool) {
	if !ok || w.leaving || w.lost || w.queue.keys[key.KeyID] != key {
		k.drained(w)
		key.drain = false
		return
	}
	if len(items) == 0 { // its records are gone: somebody mended the tables by hand
		k.drained(w)
		key.drain, key.Due = false, time.Now().Add(pulseEvery)
		return
	}
	wish := key.wish
	key.wish = ledger.Wish{}
	for i, it := range items {
		t := k.task(w, it)
		t.key = key
		if i == 0 && wish.Kind != 0 && (wish.Kind == ledger.Release || wish.Pos == it.Offset) {
			t.wish = wish
		}
		if t.wish.Kind == ledger.Drop {
			t.decided = &verdict.Error{Kind: verdict.Skip, Cause: dropped}
		}
		w.line(t)
	}
	k.next(w, key.KeyID)
}

// endDrained is the end of a record of the queue. Its key is free in the turn that ends its last
// record (protocol.md 39).
func (k *keyed) endDrained(t *task, v *verdict.Error) {
	w, key := t.w, t.key
	if healed(key, v) && w.queue.passed(key) {
		w.out.Wakes = append(w.out.Wakes, ledger.Healed{Place: w.Place, Scope: key.Scope})
	}
	mark := ledger.Mark{Place: w.Place, Pos: t.Offset, State: ledger.RecordDone, Attempts: t.Attempt}
	l := w.lineups[t.keyID]
	l.active = nil
	if v != nil && v.Kind != verdict.Skip {
		mark.State, mark.Cause, mark.Attempts = ledger.RecordOpen, v.Cause, spent(t.item, v)
		w.out.Marks = append(w.out.Marks, mark)
		w.queue.hold(t.keyID, t.tenant, v, time.Now())
		delete(w.lineups, t.keyID) // those behind stay in the queue
		k.drained(w)
		return
	}
	if v != nil && v.Cause == dropped {
		mark.State, mark.Cause = ledger.RecordDropped, dropped
		w.out.Discards = append(w.out.Discards, ledger.Discard{Place: w.Place, EID: t.eid})
		for id := range w.doubts {
			if id.EID == t.eid {
				delete(w.doubts, id)
			}
		}
	}
	w.out.Marks = append(w.out.Marks, mark)
	free := w.queue.ended(key)
	if w.crowded && (free || key.Count < keyRecordsMax) {
		w.crowded = false
		w.resumed(stallRead)
		k.grant(w)
	}
	if len(l.waiting) > 0 && !free {
		k.next(w, t.keyID)
		return
	}
	delete(w.lineups, t.keyID)
	k.drained(w)
	if !free { // more of it is in the queue
		key.drain, key.Due = false, time.Now()
	}
}
