package stream

import (
	"slices"
	"time"

	"conveyance/internal/fault"
	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

// queue is what a partition's owner knows of its waiting keys: read after the claim, and exact
// from then on, since nobody else writes it (protocol.md 38). It belongs to the lane's goroutine.
type queue struct {
	at    ledger.Place
	keys  map[string]*waiting
	gates map[verdict.Scope]*gate
	dirty map[string]bool // keys whose row is to be written
	freed map[string]bool // keys whose row is to be deleted, first
	// writing are the keys of the turn under way: what the tables say of them is not yet so.
	writing map[string]bool
	paged   map[string]bool // tenants of which it was said that too many keys wait
}

// waiting is a key with open records in the queue.
type waiting struct {
	ledger.QueuedKey
	wish  ledger.Wish // asked and not yet obeyed; Kind 0 = none
	drain bool        // its records are being handled
}

// gate lets one key of a held scope try before the others (a dead account is asked once, not once
// per key).
type gate struct {
	open    bool // a record of the scope went through: the others follow
	probing bool
	notYet  time.Time
	fails   int
}

func newQueue(at ledger.Place, keys []ledger.QueuedKey) *queue {
	q := &queue{
		at:      at,
		keys:    map[string]*waiting{},
		gates:   map[verdict.Scope]*gate{},
		dirty:   map[string]bool{},
		freed:   map[string]bool{},
		writing: map[string]bool{},
		paged:   map[string]bool{},
	}
	for _, k := range keys {
		q.keys[k.KeyID] = &waiting{QueuedKey: k}
	}
	return q
}

// wish takes a person's or a wake's wish in.
func (q *queue) wish(w ledger.Wish) {
	k := q.keys[w.KeyID]
	if k == nil || k.WantedAt.Equal(w.WantedAt) {
		return
	}
	k.wish, k.WantedAt = w, w.WantedAt
	if g := q.gates[k.Scope]; g != nil {
		g.notYet = time.Time{} // somebody says that it is mended
	}
}

// counts are the open records by kind, and the tenants that have come to have too many keys waiting.
func (q *queue) counts() (held map[ledger.Kind]int64, crowded []string) {
	held = map[ledger.Kind]int64{}
	tenants := map[string]int{}
	for _, k := range q.keys {
		held[k.Kind] += k.Count
		tenants[k.Tenant]++
	}
	for t, n := range tenants {
		if n >= tenantKeysPage && !q.paged[t] {
			crowded = append(crowded, t)
		}
		q.paged[t] = n >= tenantKeysPage
	}
	return held, crowded
}

// full is true where a key has as many records behind it as may wait.
func (q *queue) full() bool {
	for keyID := range q.dirty {
		if q.keys[keyID].Count >= keyRecordsMax {
			return true
		}
	}
	return false
}

// due returns up to n keys that may be drained now, tenants in turn.
func (q *queue) due(now time.Time, n int) []*waiting {
	byTenant := map[string][]*waiting{}
	for _, k := range q.keys {
		if !k.drain && !q.dirty[k.KeyID] && !q.writing[k.KeyID] &&
			(k.wish.Kind != 0 || !k.Due.IsZero() && !k.Due.After(now)) {
			byTenant[k.Tenant] = append(byTenant[k.Tenant], k)
		}
	}
	tenants := make([]string, 0, len(byTenant))
	for t, keys := range byTenant {
		tenants = append(tenants, t)
		slices.SortFunc(keys, func(a, b *waiting) int { return a.Since.Compare(b.Since) })
	}
	slices.Sort(tenants)
	var picked []*waiting
	for more := true; more && len(picked) < n; {
		more = false
		for _, t := range tenants {
			for len(byTenant[t]) > 0 && len(picked) < n {
				k := byTenant[t][0]
				byTenant[t] = byTenant[t][1:]
				more = true
				if q.enter(k, now) {
					k.drain = true
					picked = append(picked, k)
					break
				}
			}
		}
	}
	return picked
}

// enter asks the gate of a held key's scope.
func (q *queue) enter(k *waiting, now time.Time) bool {
	if k.Kind != ledger.HeldScope {
		return true
	}
	g := q.gates[k.Scope]
	if g == nil {
		g = &gate{}
		q.gates[k.Scope] = g
	}
	if !g.open && (g.probing || now.Before(g.notYet)) {
		return false
	}
	g.probing = true
	return true
}

// passed says that a record of a held key came to something else than its hold: the scope is
// healed. It returns true the first time, when the others must be woken.
func (q *queue) passed(k *waiting) bool {
	g := q.gates[k.Scope]
	if k.Kind != ledger.HeldScope || g == nil {
		return false
	}
	first := !g.open
	g.open, g.probing, g.fails = true, false, 0
	return first
}

// hold puts a live record's key into the queue, or a drained one's back. v is Hold, Park, or a
// Retry that is longer than a key may wait in memory.
func (q *queue) hold(keyID, tenant string, v *verdict.Error, now time.Time) *waiting {
	k := q.keys[keyID]
	if k == nil {
		k = &waiting{QueuedKey: ledger.QueuedKey{Place: q.at, KeyID: keyID, Tenant: tenant, Since: now}}
		q.keys[keyID] = k
	}
	k.Cause, k.Detail, k.Due, k.drain = v.Cause, detail(v), v.Until, false
	k.wish, k.Obeyed = ledger.Wish{}, k.WantedAt // what was asked was tried
	switch {
	case v.Kind == verdict.Park:
		k.Kind, k.Scope, k.Due = ledger.ParkedKey, verdict.ScopeKey, time.Time{}
	case v.Kind == verdict.Hold && v.Scope != "" && v.Scope != verdict.ScopeKey:
		k.Kind, k.Scope = ledger.HeldScope, v.Scope
		q.shut(k, now)
	default:
		k.Kind, k.Scope = ledger.Waiting, verdict.ScopeKey
		if k.Due.IsZero() {
			k.Due = now.Add(holdLook)
		}
	}
	q.dirty[keyID] = true
	return k
}

// shut closes the scope's gate: the next try is one probe, later each time it fails.
func (q *queue) shut(k *waiting, now time.Time) {
	g := q.gates[k.Scope]
	if g == nil {
		g = &gate{}
		q.gates[k.Scope] = g
	}
	if g.probing || g.open {
		g.fails++
	}
	g.open, g.probing = false, false
	if k.Due.IsZero() {
		k.Due = now.Add(holdLook)
	}
	if later := now.Add(backoff(g.fails, backoffBase, backoffCap)); g.fails > 1 && later.After(k.Due) {
		k.Due = later
	}
	if k.Due.After(g.notYet) {
		g.notYet = k.Due
	}
}

// behind adds a live record to a key that waits.
func (q *queue) behind(keyID string) { q.keys[keyID].Count++; q.dirty[keyID] = true }

// ended takes a drained record off; it returns true where the key's queue is empty and the key is
// free from the next turn on.
func (q *queue) ended(k *waiting) bool {
	k.Count--
	k.Attempts = 0
	if k.Count > 0 && !fault.Broken("unlock before drain") {
		q.dirty[k.KeyID] = true
		return false
	}
	delete(q.keys, k.KeyID)
	delete(q.dirty, k.KeyID)
	q.freed[k.KeyID] = true
	return true
}

// write moves the changed keys into a turn. A key that was freed and holds again loses its old row
// with the wishes in it.
func (q *queue) write(t *ledger.Turn) {
	for keyID := range q.freed {
		t.Freed = append(t.Freed, ledger.KeyRef{Place: q.at, KeyID: keyID})
	}
	for keyID := range q.dirty {
		t.Keys = append(t.Keys, q.keys[keyID].QueuedKey)
		q.writing[keyID] = true
	}
	clear(q.freed)
	clear(q.dirty)
}

// written says that the turn under way is committed.
func (q *queue) written() { clear(q.writing) }

// detailMax bounds the error text that people see.
const detailMax = 500

func detail(v *verdict.Error) string {
	if v.Err == nil {
		return ""
	}
	text := v.Err.Error()
	return text[:min(len(text), detailMax)]
}

// queuedRecord is a live record as it goes into the queue.
func queuedRecord(at ledger.Place, it *item, cause string, attempts int) ledger.QueuedRecord {
	q := ledger.QueuedRecord{
		Place:    at,
		Pos:      it.Offset,
		KeyID:    it.keyID,
		Key:      it.Key,
		Value:    it.Value,
		At:       it.Time,
		Cause:    cause,
		Attempts: attempts,
	}
	for _, h := range it.Headers {
		q.Headers = append(q.Headers, ledger.Header{Key: h.Key, Value: h.Value})
	}
	return q
}

// unqueued is a record that comes out of the queue.
func unqueued(q ledger.QueuedRecord) *item {
	r := &Record{
		Topic: q.Topic, Partition: q.Part, Offset: q.Pos, Time: q.At.UTC(), Key: q.Key, Value: q.Value,
		Queued: true, Attempt: q.Attempts + 1,
	}
	for _, h := range q.Headers {
		r.Headers = append(r.Headers, Header(h))
	}
	return &item{Record: r}
}
