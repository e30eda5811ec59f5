package budget

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// LimitedFor is the wait after a 429 that does not say how long: Follow Up Boss's window.
	LimitedFor = 10 * time.Second
	// retryAfterMax bounds what a vendor may ask for: DocuSign's hour.
	retryAfterMax = time.Hour
	// spentFor is the pause after an answer that says that nothing remains: others use the account too.
	spentFor = time.Second
	// callsMax and windowMax bound what is believed of a limit.
	callsMax  = 1_000_000
	windowMax = 24 * time.Hour
)

// word is what an answer says of the quota; zero fields = nothing.
type word struct {
	calls  int
	window time.Duration
	closed time.Duration
}

// read understands X-RateLimit-Limit, -Remaining and -Window (seconds), and Retry-After. -Reset counts
// where nothing remains and it is an instant (DocuSign); what one vendor writes there in milliseconds
// from now is left alone. A limit of another context than the account's own (Follow Up Boss names it)
// is not the account's.
func read(bucket string, status int, h http.Header, now time.Time) word {
	var w word
	if status == http.StatusTooManyRequests {
		w.closed = LimitedFor
		if after, told := RetryAfter(h, now); told {
			w.closed = max(after, spentFor)
		}
	}
	if scope := h.Get("X-RateLimit-Context"); bucket == "" && scope != "" && !strings.EqualFold(scope, "global") {
		return w
	}
	if n, ok := number(h.Get("X-RateLimit-Limit")); ok && n > 0 {
		w.calls = min(n, callsMax)
	}
	if n, ok := number(h.Get("X-RateLimit-Window")); ok && n > 0 {
		w.window = min(time.Duration(min(n, callsMax))*time.Second, windowMax)
	}
	if n, ok := number(h.Get("X-RateLimit-Remaining")); ok && n <= 0 {
		w.closed = max(w.closed, spentFor, resets(h.Get("X-RateLimit-Reset"), clockOf(h, now)))
	}
	return w
}

// readBurst understands X-BurstLimit-Limit and -Remaining: DocuSign's second, short window. The
// account's own limit is told beside it.
func readBurst(h http.Header) word {
	var w word
	if n, ok := number(h.Get("X-BurstLimit-Limit")); ok && n > 0 {
		w.calls = min(n, callsMax)
	}
	if n, ok := number(h.Get("X-BurstLimit-Remaining")); ok && n <= 0 {
		w.closed = spentFor
	}
	return w
}

// resets is how long it is to an instant in seconds since 1970, at most retryAfterMax; zero where the
// text is none.
func resets(text string, now time.Time) time.Duration {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < now.Add(-retryAfterMax).Unix() || n > now.Add(2*retryAfterMax).Unix() {
		return 0
	}
	return min(max(time.Unix(n, 0).Sub(now), 0), retryAfterMax)
}

// number reads the leading integer of a header.
func number(s string) (int, bool) {
	s = strings.TrimSpace(s)
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		s = s[:end]
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// clockOf is the vendor's own clock as its answer tells it, which instants in the answer are meant by:
// it may be minutes off ours. Where it tells none, it is ours.
func clockOf(h http.Header, now time.Time) time.Time {
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		return at
	}
	return now
}

// RetryAfter reads the header in both of its forms, an instant on the vendor's own clock, bounded to an
// hour, and whether there was one that can be understood.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0, false
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(clockOf(h, now)), 0), retryAfterMax), true
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds < 0 || math.IsNaN(seconds) {
		return 0, false
	}
	return time.Duration(min(seconds, retryAfterMax.Seconds()) * float64(time.Second)), true
}
