package stream

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the wait before attempt n+1: full jitter under a cap that doubles.
func backoff(n int, base, most time.Duration) time.Duration {
	bound := most
	if n < 30 {
		bound = min(most, base<<max(0, n-1))
	}
	return rand.N(bound) + time.Millisecond //nolint:gosec // G404: jitter, not a secret
}

// wait returns false where ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
