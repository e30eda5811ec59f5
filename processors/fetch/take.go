package fetch

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
)

// waiting is how many rows of an account are due in a lane, up to the limit that was asked for.
type waiting struct {
	account
	lane lane
	rows int
}

// due lists accounts with rows that may be taken now, held ones left out.
func (s store) due(ctx context.Context, now time.Time, rowsMax int) ([]waiting, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlDue), now, rowsMax)
	if err != nil {
		return nil, fmt.Errorf("looking for due resources: %w", postgres.Classify(err))
	}
	due, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (w waiting, err error) {
		err = r.Scan(&w.lane, &w.tenant, &w.vendor, &w.name, &w.rows)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for due resources: %w", postgres.Classify(err))
	}
	return due, nil
}

// share is how many rows of an account to take in a lane.
type share struct {
	account
	lane lane
	rows int
}

// job is one row that this process has taken: what was known of it when its token was drawn.
type job struct {
	resource   event.Resource
	token      int64
	unfinished bool // an earlier fetch may still put an answer on the topic (protocol.md 21)
	hints      int64
	wanted     int64
	lane       lane
	attempts   int
	asked      int
	held       held
	again      time.Duration // between two calls for it, by its vendor's rule
	before     *time.Time    // until when it was not to be read, before this job
	hintedBy   string        // what the last hint came from
	hintedAt   time.Time     // when the first one came
	taken      time.Time
}

// held is what the snapshots topic was given last.
type held struct {
	version int64
	digest  string
	gone    bool
}

// take leases rows and draws their tokens. When it returns they are committed: the caller may call.
// again is each vendor's rule.
func (s store) take(
	ctx context.Context, shares []share, again func(vendor string) time.Duration, now time.Time, lease time.Duration,
) ([]job, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	lanes, keys, counts := make([]int16, len(shares)), make([]string, len(shares)), make([]int32, len(shares))
	rules := make([]int64, len(shares))
	for i, sh := range shares {
		rules[i] = again(sh.vendor).Milliseconds()
		lanes[i], keys[i], counts[i] = int16(sh.lane), sh.key(), int32(sh.rows) //nolint:gosec // G115: below Concurrency
	}
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlTake), lanes, keys, counts, now, now.Add(lease), rules)
	if err != nil {
		return nil, fmt.Errorf("taking resources: %w", postgres.Classify(err))
	}
	jobs, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (job, error) {
		j := job{taken: now}
		var key string
		err := r.Scan(&key, &j.resource.Tenant, &j.resource.Vendor, &j.resource.Account, &j.resource.Kind, &j.resource.ID,
			&j.token, &j.unfinished, &j.hints, &j.wanted, &j.lane,
			&j.attempts, &j.asked, &j.held.version, &j.held.digest, &j.held.gone, &j.hintedBy, &j.hintedAt, &j.before)
		j.again = again(j.resource.Vendor)
		return j, err
	})
	if err != nil {
		return nil, fmt.Errorf("taking resources: %w", postgres.Classify(err))
	}
	return jobs, nil
}

// settlement is what a fetch came to.
type settlement struct {
	snapshot *event.VendorSnapshot // what is held from now on; nil = what was held before
	kept     []byte                // what is kept of it
	finished bool                  // nothing of this or an earlier fetch is left unfinished
	clear    bool                  // the duty is done, unless a hint came since the token
	next     time.Time             // when the duty goes on; zero = parked
	attempts int
	asked    int
	cause    string
	detail   string
	uncalled bool // the vendor was surely not asked, or refused to be: its rule does not count it
}

// causeAgain is why a hint waits that came sooner after a call than the vendor likes.
const causeAgain = "vendor's polling rule"

// rule is when the record may be read again: nil = at any time. At a settlement the call is over, so
// that no two are closer to each other than the rule says.
func (j job) rule(uncalled bool, now time.Time) *time.Time {
	if uncalled || j.again == 0 {
		return j.before
	}
	at := now.Add(j.again)
	return &at
}

// detailBytesMax keeps a vendor's page of HTML out of a column that people read.
const detailBytesMax = 500

// settle records what a fetch came to and returns true, or false where another fetch has started since
// (protocol.md 20): then it owns the duty and nothing is written.
func (s store) settle(ctx context.Context, j job, end settlement, now time.Time) (bool, error) {
	free, more, moreCause := j.rule(end.uncalled, now), now, ""
	if free != nil && free.After(now) {
		more, moreCause = *free, causeAgain
	}
	var next *time.Time
	if !end.next.IsZero() {
		at := end.next
		if more.After(at) {
			at = more
		}
		next = &at
	}
	var snap event.VendorSnapshot
	if end.snapshot != nil {
		snap = *end.snapshot
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	tag, err := s.pool.Exec(ctx, postgres.In(s.schema, sqlSettle), j.resource.Key(), j.token,
		end.snapshot != nil, snap.Version, snap.Digest, snap.Gone, snap.ReadAt, end.finished,
		end.clear, j.hints, j.taken, next, more, end.attempts, end.asked, end.cause, clip(end.detail), free, moreCause,
		end.kept)
	if err != nil {
		return false, fmt.Errorf("recording fetch %d of %s: %w", j.token, j.resource.Key(), postgres.Classify(err))
	}
	return tag.RowsAffected() == 1, nil
}

func clip(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text[:min(len(text), detailBytesMax)], "\x00", ""), "")
}
