package vendorhttp

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	// probeAfter is when a refused account is tried again at first, and probeAfterMax at last: a
	// person who mends a credential at the vendor waits no longer than this, and an account that
	// stays dead costs the vendor 12 calls an hour.
	probeAfter    = 30 * time.Second
	probeAfterMax = 5 * time.Minute
	// limitedMin is the shortest wait after a 429, whatever it says: an instant that has passed would
	// have the account call again at once. It doubles with each one in a row, to limitedMax: an account
	// whose quota is never free costs the vendor a dozen calls in ten minutes.
	limitedMin = time.Second
	limitedMax = 5 * time.Minute
)

// seed makes the fingerprints of credentials worthless outside this process.
var seed = maphash.MakeSeed()

// gate remembers what one account's answers said: whether it is refused and when the next probe may
// go, and whether its calls fail. It closes for this account alone.
type gate struct {
	failing *failing

	mu         sync.Mutex
	refusals   int    // in a row, by probes
	credential uint64 // that was refused
	at         time.Time
	until      time.Time // no call before
	reported   time.Time // when its recovery was last told
	limited    int       // 429s in a row
	at429      time.Time // when the last of them came
}

func newGate(a tenant.Account, m *metrics) *gate {
	return &gate{failing: newFailing(a, m)}
}

// open lets a call through, one at a time as a probe where the account is refused, or returns the
// hold. claim is how long a probe keeps others waiting at most.
func (g *gate) open(a tenant.Account, now time.Time, claim time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusals == 0 {
		return nil
	}
	// Another credential, or a recovery that another process or a person recorded since.
	if fingerprint(a.Credential) != g.credential || (!a.Health.Refused && a.Health.CheckedAt.After(g.at)) {
		g.refusals = 0
		return nil
	}
	if now.Before(g.until) {
		return verdict.Held(scope(a), g.until, causeRefused, nil)
	}
	g.until = now.Add(claim)
	return nil
}

// refused records a 401 or 403 of a call that started at started. It returns the time of the next
// probe, and whether this refusal is news: those of calls that were in flight together count once.
func (g *gate) refused(a tenant.Account, started, now time.Time) (until time.Time, news bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	print := fingerprint(a.Credential)
	if g.refusals > 0 && started.Before(g.at) && print == g.credential {
		return g.until, false
	}
	if print != g.credential {
		g.refusals = 0
	}
	wait := min(probeAfter<<min(g.refusals, 10), probeAfterMax)
	g.refusals++
	g.credential, g.at, g.until = print, now, now.Add(wait)
	return g.until, true
}

// accepted records a success with the credential, and returns whether it is a recovery.
func (g *gate) accepted(a tenant.Account, started, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusals > 0 && started.Before(g.at) {
		return false // it was in flight when the account was refused, and says nothing of now
	}
	recovered := g.refusals > 0 || (a.Health.Refused && a.Health.CheckedAt.After(g.reported))
	g.refusals = 0
	if recovered {
		g.reported = now
	}
	return recovered
}

// limit is how long the account is left alone after a 429 that asks for wait: as long as that, and the
// longer the more of them came in a row, since a vendor that goes on refusing is not called all the
// time that it names. Those of calls that were in flight together count once.
func (g *gate) limit(wait time.Duration, started, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limited == 0 || !started.Before(g.at429) {
		g.limited, g.at429 = g.limited+1, now
	}
	return max(wait, min(limitedMin<<min(g.limited-1, 10), limitedMax))
}

// unlimited ends the row of 429s.
func (g *gate) unlimited() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limited = 0
}

// undecided gives a probe back that said neither yes nor no: an expired session that the caller
// renews, an answer like 404. The next call is a probe.
func (g *gate) undecided(started, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusals > 0 && !started.Before(g.at) {
		g.until = now
	}
}

// fingerprint is of what a person gives. Access tokens change by themselves, each hour and with every
// renewal: an account that is refused under a new one is no less refused, and who connects it anew
// records its recovery.
func fingerprint(c tenant.Credential) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	write := func(s string) {
		_, _ = h.WriteString(s) // never fails
		_ = h.WriteByte(0)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		write(name)
		write(c.Fields[name])
	}
	return h.Sum64()
}
