// Package budget shares a vendor account's call quota among all replicas of all processes through
// Postgres, so that the vendor never sees more than its quota in any window, sliding or fixed
// (protocol.md 47, 48). A 429 is still a normal answer: a process that is paused between its token
// and its call may break the quota once.
package budget

import (
	"context"
	"embed"
	"io/fs"
	"net/http"
	"time"

	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the budget's tables.
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

const (
	// LaneLive is for what happens now.
	LaneLive = "live"
	// LaneBackfill is for history: it leaves liveReserve of the quota alone.
	LaneBackfill = "backfill"
)

// Budget spends calls of an account's quota. It is safe for concurrent use.
type Budget interface {
	// Take takes one call of the account's quota, or returns a verdict.Held with the account's
	// scope and the time at which the window opens. lane is live or backfill: live goes first. A
	// token that was taken and not used is lost, never given back. It blocks for a Postgres round
	// trip at most, and usually not at all: tokens are leased in small groups. Where Postgres does
	// not answer it returns its error, classified: no call is made without a token.
	Take(ctx context.Context, a tenant.Account, lane string) error
	// Learn reads the quota from a vendor's answer (X-RateLimit-*, X-BurstLimit-*, Retry-After), so that a lower
	// quota than configured is obeyed from the next call on. What it cannot write to Postgres it
	// obeys in this process.
	Learn(ctx context.Context, a tenant.Account, status int, h http.Header)
	// In is the budget of a part of the vendor's API that has a quota of its own, for example
	// people.put; it is apart from the rest of the account's. The empty bucket is all else.
	In(bucket string) Budget
}

// Quota is what a vendor allows one account.
type Quota struct {
	Calls  int           // in any Window
	Window time.Duration // sliding, so any fixed one holds too
}

// Burst is the bucket of an account's second, shorter window, where its vendor has one: every call of
// the account's own quota spends of it, too.
const Burst = "burst"

const (
	// freeShare of a quota stays unused: for holders that pause after their look, and for the
	// account's other integrations.
	freeShare = 0.10
	// liveReserve is the share of what is usable that backfill does not touch, so that live work
	// finds tokens at once.
	liveReserve = 0.20
	// leaseShare of what is usable is the most that one process takes at a time.
	leaseShare = 1.0 / 16
	// delay is the longest that a call is on its way to the vendor after its token was taken.
	delay = time.Second
	// lifeMin and lifeMax bound how long a lease may be used; between them a tenth of the window.
	lifeMin = time.Second
	lifeMax = 5 * time.Second
)

// Unknown is the quota of a vendor that publishes none and is not configured: careful, and corrected
// by the first answer that names a limit.
var Unknown = Quota{Calls: 60, Window: time.Minute}

// unknownBurst is a second window of which an answer told the calls and not the length: DocuSign's, at
// the lower of its limits.
var unknownBurst = Quota{Calls: 200, Window: 30 * time.Second}

// Config of a shared budget.
type Config struct {
	// Quotas by vendor, by vendor/bucket where a part of its API has its own, and by vendor/burst where
	// the vendor has a second window. They hold until an answer of the vendor says otherwise. Default:
	// Unknown for each, and no second window until an answer tells of one.
	Quotas map[string]Quota
}

func (q Quota) usable() int {
	return max(1, int(float64(q.Calls)*(1-freeShare)))
}

// reserve is what of the usable calls a lane leaves to others.
func (q Quota) reserve(lane string) int {
	if lane == LaneBackfill {
		return int(float64(q.usable()) * liveReserve)
	}
	return 0
}

func (q Quota) leaseMax() int { return max(1, int(float64(q.usable())*leaseShare)) }

// life of a lease, from before it was asked for.
func (q Quota) life() time.Duration { return min(max(q.Window/10, lifeMin), lifeMax) }

// horizon is how far back grants count: a call may reach the vendor this much later than granted,
// less the window.
func (q Quota) horizon() time.Duration { return q.Window + q.life() + delay }
