// Package budget shares a vendor account's call quota among all replicas of all processes through
// Postgres, so that the vendor never sees more than its quota (protocol.md 47, 48).
package budget

import (
	"context"
	"net/http"

	"conveyance/internal/tenant"
)

// Budget spends calls of an account's quota.
type Budget interface {
	// Take takes one call of the account's quota, or returns a verdict.Held with the account's
	// scope and the time at which the window opens. lane is live or backfill: live goes first. A
	// token that was taken and not used is lost, never given back. It blocks for a Postgres round
	// trip at most, and usually not at all: tokens are leased in small groups.
	Take(ctx context.Context, a tenant.Account, lane string) error
	// Learn reads the quota from a vendor's answer (X-RateLimit-*, Retry-After), so that a lower
	// quota than configured is obeyed from the next call on.
	Learn(ctx context.Context, a tenant.Account, status int, h http.Header)
}
