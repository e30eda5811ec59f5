package docusign

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"conveyance/internal/sandbox/world"
)

// The documented limits of an account, all its apps together.
const (
	hourlyMax = 3000
	burstMax  = 500
	burstSpan = 30 * time.Second
)

const (
	// readAgain is how soon, at the earliest, the guidelines allow an app to read an envelope again.
	readAgain = 15 * time.Minute
	// readsMax is how many reads of one envelope, its parts included, an hour takes. The vendor
	// publishes no number: this one allows every part four times an hour, and stops a poller.
	readsMax = 20
)

// The codes of what is refused for being too much.
const (
	hourlyExceeded  = "HOURLY_APIINVOCATION_LIMIT_EXCEEDED"
	burstExceeded   = "BURST_APIINVOCATION_LIMIT_EXCEEDED"
	pollingExceeded = "Hourly_Envelope_Polling_Limit_Exceeded"
)

// spend counts a request, tells the limits in headers, and refuses what is too much.
func (s *api) spend(w http.ResponseWriter, r *http.Request, a world.Account) bool {
	now := s.base.Clock()
	burst := s.windows.Of(a.Key(), burstMax, s.base.Window(burstSpan)).Take(now)
	left, resets, fits := s.hours.take(a.Key(), now, s.base.Window(time.Hour), burst.OK)
	for header, n := range map[string]int64{
		"X-RateLimit-Limit": hourlyMax, "X-RateLimit-Remaining": int64(left), "X-RateLimit-Reset": resets.Unix(),
		"X-BurstLimit-Limit": burstMax, "X-BurstLimit-Remaining": int64(burst.Remaining),
	} {
		w.Header().Set(header, strconv.FormatInt(n, 10))
	}
	switch {
	case !burst.OK:
		fail(w, http.StatusBadRequest, burstExceeded, "too many requests in 30 seconds; the limit is "+strconv.Itoa(burstMax))
	case !fits:
		fail(w, http.StatusBadRequest, hourlyExceeded, "too many requests in this hour; the limit is "+strconv.Itoa(hourlyMax))
	}
	if !burst.OK || !fits {
		world.Remark(r.Context(), world.OverQuota)
	}
	return burst.OK && fits
}

// hours counts requests of accounts in hours that begin on the hour. It is safe for concurrent use.
type hours struct {
	mu   sync.Mutex
	used map[string]hour
}

type hour struct {
	began time.Time
	n     int
}

// take counts a request if it fits and count says so; it returns how many are left and until when.
func (h *hours) take(account string, now time.Time, span time.Duration, count bool) (left int, resets time.Time, fits bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.used == nil {
		h.used = map[string]hour{}
	}
	u := h.used[account]
	if began := now.Truncate(span); !began.Equal(u.began) {
		u = hour{began: began}
	}
	fits = u.n < hourlyMax
	if fits && count {
		u.n++
	}
	h.used[account] = u
	return hourlyMax - u.n, u.began.Add(span), fits
}

// reads remembers when envelopes were read. It is safe for concurrent use.
type reads struct {
	mu   sync.Mutex
	last map[string]time.Time // by account and path
}

// again notes a read of a path, and says whether the one before was answered less than span ago.
func (r *reads) again(path string, now time.Time, span time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]time.Time{}
	}
	before, was := r.last[path]
	r.last[path] = now
	return was && now.Sub(before) < span
}

// polled refuses a read of an envelope that was read too often, and remarks on one that comes too
// soon.
func (s *api) polled(w http.ResponseWriter, r *http.Request, a world.Account, id string) bool {
	now := s.base.Clock()
	if !s.windows.Of(a.Key()+" "+id, readsMax, s.base.Window(time.Hour)).Take(now).OK {
		world.Remark(r.Context(), world.OverQuota)
		fail(w, http.StatusBadRequest, pollingExceeded, "too many reads of one envelope in an hour")
		return true
	}
	if s.reads.again(r.URL.Path, now, s.base.Window(readAgain)) {
		world.Remark(r.Context(), "polled again")
	}
	return false
}
