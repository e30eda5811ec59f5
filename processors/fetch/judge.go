package fetch

import (
	"time"

	"conveyance/avro/event"
)

// The outcomes of a fetch, as the metric names them.
const (
	outcomeEmitted     = "emitted"
	outcomeGone        = "gone"
	outcomeUnchanged   = "unchanged"
	outcomeStale       = "stale"   // older than what is held
	outcomeOutrun      = "outrun"  // another fetch has started since
	outcomeSkipped     = "skipped" // the vendor's folder wants nothing of it
	outcomeRetry       = "retry"
	outcomeHold        = "hold"
	outcomePark        = "park"
	outcomeStall       = "stall"
	outcomeInterrupted = "interrupted" // by shutdown
)

// step is what an answer calls for.
type step struct {
	emit    bool
	again   bool // a stale replica may have answered: ask again
	outcome string
}

// judge says what to do with an answer, from what was known when the token was drawn and how often
// an older answer has come already.
//
//	gone   nothing held, or deleted and said to exist       ask again, askedMax times; then emit
//	gone   deleted already, no fetch unfinished             unchanged
//	gone                                                    emit a tombstone
//	lower version than held                                 ask again, askedMax times; then leave it
//	same version and digest as held, no fetch unfinished    unchanged    (protocol.md 21)
//	else                                                    emit
//	lower version than a hint named                         besides, ask again, askedMax times (23)
func judge(j job, s *event.VendorSnapshot) step {
	patient := j.asked < askedMax
	fresh := j.held.digest == "" || (j.held.gone && j.wanted > 0)
	same := s.Digest == j.held.digest && s.Version == j.held.version && s.Gone == j.held.gone && !j.unfinished
	switch {
	case s.Gone && fresh && patient:
		return step{again: true, outcome: outcomeStale}
	case s.Gone && same:
		return step{outcome: outcomeUnchanged}
	case s.Gone:
		return step{emit: true, outcome: outcomeGone}
	case s.Version < j.held.version:
		return step{again: patient, outcome: outcomeStale}
	}
	behind := s.Version < j.wanted && patient
	switch {
	case same && behind:
		return step{again: true, outcome: outcomeStale}
	case same:
		return step{outcome: outcomeUnchanged}
	}
	return step{emit: true, again: behind, outcome: outcomeEmitted}
}

// askedMax is how often a record is asked for again when its answers are older than what is known.
const askedMax = 5

// askAgain is how long the n-th wait for a replica is, n from 0: quick for a cache, and in sum the five
// minutes after which a 404 is believed and an old answer is left to the next poll.
func askAgain(n int) time.Duration {
	waits := [askedMax]time.Duration{2 * time.Second, 8 * time.Second, 30 * time.Second, 80 * time.Second, 3 * time.Minute}
	return waits[min(n, askedMax-1)]
}

const (
	// retryBase and retryMax bound the wait after the n-th failure in a row: a random part of
	// 1 s, 2 s, 4 s … 5 min (full jitter), so that what failed together does not come back together.
	// A record is never given up for failing: reading it again does no harm, and its row says why.
	retryBase = time.Second
	retryMax  = 5 * time.Minute
)

// backoff is the wait after n failures in a row, n from 1, and never shorter than the vendor asked for.
func backoff(n int, jitter float64, asked time.Duration) time.Duration {
	ceiling := retryMax
	if n < 10 { // 2^9 s are above retryMax
		ceiling = min(retryBase<<max(n-1, 0), retryMax)
	}
	return max(time.Duration(jitter*float64(ceiling)), asked)
}
