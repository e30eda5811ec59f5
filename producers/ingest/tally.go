package ingest

import (
	"math/bits"
	"sync"
	"time"

	"conveyance/internal/tenant"
	"conveyance/producers/ingest/expect"
)

// account is whose endpoint it is.
type account struct{ tenant, vendor, name string }

func accountOf(a tenant.Account) account { return account{a.Tenant, a.Vendor, a.Name} }

func (a account) key() string { return a.tenant + "/" + a.vendor + "/" + a.name }

// seen is the last that an account's endpoint has seen. Zero times are never.
type seen struct {
	came, refused time.Time
	run           int // refused with no pause of runPause between them
	runSince      time.Time
}

type accountHour struct {
	account
	hour time.Time
}

type accountKey struct {
	account
	key string
}

// counts are what happened since the last flush.
type counts struct {
	came map[accountHour]int64
	seen map[account]seen
	used map[accountKey]time.Time
	open map[time.Time]int // slots of an hour, one bit each
}

func newCounts() counts {
	return counts{map[accountHour]int64{}, map[account]seen{}, map[accountKey]time.Time{}, map[time.Time]int{}}
}

// tally gathers counts. It is safe for concurrent use, and never waits for Postgres.
type tally struct {
	mu sync.Mutex
	c  counts
}

func (t *tally) came(a account, key string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c.came[accountHour{a, at.UTC().Truncate(time.Hour)}]++
	t.c.used[accountKey{a, key}] = at
	s := t.c.seen[a]
	s.came = at
	t.c.seen[a] = s
}

func (t *tally) refused(a account, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.c.seen[a]
	if s.run == 0 {
		s.runSince = at
	}
	s.run++
	s.refused = at
	t.c.seen[a] = s
}

// open notes that somebody listens.
func (t *tally) open(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at = at.UTC()
	t.c.open[at.Truncate(time.Hour)] |= 1 << (at.Minute() / slotMinutes)
}

// take hands the counts over; put gives them back where they could not be written.
func (t *tally) take() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.c
	t.c = newCounts()
	return c
}

func (t *tally) put(old counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, n := range old.came {
		t.c.came[k] += n
	}
	for k, at := range old.used {
		t.c.used[k] = later(at, t.c.used[k])
	}
	for k, slots := range old.open {
		t.c.open[k] |= slots
	}
	for k, s := range old.seen {
		now := t.c.seen[k]
		if s.run > 0 {
			now.run, now.runSince = now.run+s.run, s.runSince
		}
		now.came, now.refused = later(s.came, now.came), later(s.refused, now.refused)
		t.c.seen[k] = now
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// slotMinutes is how exactly it is known whether somebody listened.
const slotMinutes = 5

// opens say in which five minutes of which hours somebody listened.
type opens map[time.Time]int

// hours are those from one time to another, each with the part of it in which somebody listened.
func (o opens) hours(from, to time.Time) []expect.Hour {
	var all []expect.Hour
	for h := from.UTC().Truncate(time.Hour); h.Before(to); h = h.Add(time.Hour) {
		mask := 0
		for i := range 60 / slotMinutes {
			if at := h.Add(time.Duration(i*slotMinutes) * time.Minute); !at.Before(from) && at.Before(to) {
				mask |= 1 << i
			}
		}
		n := bits.OnesCount(uint(o[h] & mask))
		all = append(all, expect.Hour{Start: h, Open: float64(n) * slotMinutes / 60})
	}
	return all
}
