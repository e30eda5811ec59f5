package budget

import (
	"context"
	"time"
)

// purse is what a process holds of one account's budget. Its holder is inside enter and leave, also
// over a round trip: who waits would have asked for the same.
type purse struct {
	key
	turn chan struct{} // a lock that a context can stop waiting for

	configured Quota
	learned    learned
	unsaved    bool      // what was learned could not be written
	closed     time.Time // by the vendor
	full       map[string]time.Time
	leases     map[string]*lease
}

// learned is what Postgres holds of an account's quota; nil = nothing.
type learned struct {
	calls    *int
	windowMS *int64
}

func (l learned) equal(o learned) bool { return same(l.calls, o.calls) && same(l.windowMS, o.windowMS) }

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func newPurse(k key, configured Quota) *purse {
	return &purse{
		key: k, configured: configured, turn: make(chan struct{}, 1),
		full: map[string]time.Time{}, leases: map[string]*lease{},
	}
}

func (p *purse) enter(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *purse) leave() { <-p.turn }

func (p *purse) quota() Quota {
	q := p.configured
	if p.learned.calls != nil {
		q.Calls = *p.learned.calls
	}
	if p.learned.windowMS != nil {
		q.Window = time.Duration(*p.learned.windowMS) * time.Millisecond
	}
	return q
}

// opens is the time before which a lane need not ask.
func (p *purse) opens(lane string) time.Time {
	if at := p.full[lane]; at.After(p.closed) {
		return at
	}
	return p.closed
}

// learn takes a vendor's word in and returns whether it is news to be written. What was leased
// under a larger quota, or before a closing, is not used any more.
func (p *purse) learn(w word, now time.Time) bool {
	before := p.quota()
	next := p.learned
	if w.calls != 0 && w.calls != before.Calls {
		next.calls = &w.calls
	}
	if w.window != 0 && w.window != before.Window {
		ms := w.window.Milliseconds()
		next.windowMS = &ms
	}
	closed := now.Add(w.closed)
	news := !next.equal(p.learned)
	if w.closed > 0 && closed.After(p.closed.Add(time.Second)) { // each of many 429s says nearly the same
		p.closed = closed
		news = true
	}
	p.learned = next
	if news {
		p.unsaved = true
		clear(p.leases)
		clear(p.full)
	}
	return news
}

func (p *purse) lease(lane string) *lease {
	l := p.leases[lane]
	if l == nil {
		l = &lease{}
		p.leases[lane] = l
	}
	return l
}

// lease is a group of tokens that may be used until ends. Its size follows the demand: what is not
// used in time is lost for everybody.
type lease struct {
	left, size int
	ends       time.Time
}

func (l *lease) take(now time.Time) bool {
	if l.left == 0 || !now.Before(l.ends) {
		return false
	}
	l.left--
	return true
}

// want is twice the last lease where that was used up in time, else what was used of it.
func (l *lease) want(now time.Time, most int) int {
	used := l.size - l.left
	if now.Before(l.ends) {
		used *= 2
	}
	return min(max(used, 1), most)
}

func (l *lease) fill(n int, asked time.Time, life time.Duration) {
	*l = lease{left: n, size: n, ends: asked.Add(life)}
}
