package fetch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/budget"
	"conveyance/internal/fault"
	"conveyance/internal/observe"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

// A row is leased for longer than its fetch may take, so that only a dead worker's row comes back:
// 45 s call + 20 s publish + 10 s record < 90 s lease.
const (
	// callTimeout is for a whole record: several calls of at most 10 s, one after the other.
	callTimeout    = 45 * time.Second
	publishTimeout = 20 * time.Second
	settleTimeout  = 10 * time.Second
	rowLease       = 90 * time.Second
	// drainTimeout is how long shutdown waits for what is in flight, below the 10 s after which a
	// supervisor kills.
	drainTimeout = 8 * time.Second
	// stallFor is how long a vendor, or everything, is left alone when the world is wrong for all of
	// it: as long as a breaker of a whole vendor stays open.
	stallFor = 5 * time.Second
	// holdFor is how long an account is left alone that says no time: a minute's calls are few, and a
	// mended credential is found within it.
	holdFor = time.Minute
)

// ending is a settlement with what goes beside it.
type ending struct {
	settlement
	outcome string
	err     error
	hold    *hold // of the whole account
	stalled bool  // the vendor is left alone for stallFor
}

// work reads one record, publishes it and settles its row. It returns whether the vendor should be left
// alone for a while, and whether the account must be. Shutdown lets it finish, for drainTimeout.
func (f *Fetch) work(ctx context.Context, j job, a tenant.Account) (stalled, held bool) {
	began := f.cfg.Now()
	in, cancel := outlive(budget.WithLane(ctx, j.lane.String()), callTimeout+publishTimeout, drainTimeout)
	defer cancel()
	end := f.fetch(in, j, a)
	if end.hold != nil {
		if err := f.hold(ctx, *end.hold); err != nil {
			f.log.Warn("fetch.hold", observe.Account(a.Key()), observe.Err(err))
		}
	}
	f.settle(ctx, j, &end)
	f.metrics.fetched(j.resource.Vendor, end.outcome)
	f.report(j, end, began)
	return end.stalled, end.hold != nil
}

// fetch makes the call and publishes the answer. It writes no row.
func (f *Fetch) fetch(ctx context.Context, j job, a tenant.Account) ending {
	v := f.vendors[j.resource.Vendor]
	call, cancel := context.WithTimeout(ctx, callTimeout)
	err := fault.At("fetch.before")
	var snap *event.VendorSnapshot
	if err == nil {
		snap, err = f.read(call, v, j, a)
	}
	cancel()
	if err == nil {
		err = fault.At("fetch.after")
	}
	if interrupted(ctx) && err != nil {
		err = errShutdown
	}
	if err != nil {
		end := f.failed(j, err)
		end.finished = !j.unfinished // nothing was published
		return end
	}
	return f.pass(ctx, j, snap)
}

// pass publishes an answer where it is to be published.
func (f *Fetch) pass(ctx context.Context, j job, snap *event.VendorSnapshot) ending {
	st := judge(j, snap)
	end := ending{outcome: st.outcome, settlement: settlement{clear: !st.again, finished: !j.unfinished}}
	if st.outcome == outcomeStale || st.again {
		f.metrics.stale(j.resource.Vendor)
	}
	if st.again {
		end.asked = j.asked + 1
		end.cause = causeOlder
		end.next = f.cfg.Now().Add(askAgain(j.asked))
	}
	if !st.emit {
		return end
	}
	send, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	err := f.publish.Publish(send, hinted(out(snap), j.hintedBy, j.hintedAt))
	if err == nil {
		err = fault.At("fetch.published")
	}
	if err != nil {
		if interrupted(ctx) {
			err = errShutdown
		}
		lost := f.failed(j, err)
		// Parked is what was refused before it was sent. Else it may be in the log, now or later: the
		// row stays open.
		lost.finished = lost.outcome == outcomePark && !j.unfinished
		return lost
	}
	end.snapshot, end.kept, end.finished = snap, f.keep(snap), true
	return end
}

const causeOlder = "vendor answers an older state"

// read makes the call and completes its answer.
func (f *Fetch) read(ctx context.Context, v producers.Vendor, j job, a tenant.Account) (*event.VendorSnapshot, error) {
	began := f.cfg.Now()
	s, err := v.Fetcher.Fetch(ctx, a, j.resource)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", j.resource.Key(), err)
	}
	if s.Gone && fault.Broken("404 to DLQ") {
		return nil, verdict.Parked("not found", errors.New("the vendor answers 404"))
	}
	if s.Resource != j.resource {
		return nil, verdict.Parked("vendor's folder answered another record",
			fmt.Errorf("asked for %s, got %s", j.resource.Key(), s.Resource.Key()))
	}
	if s.ReadAt.IsZero() {
		s.ReadAt = began
	}
	f.complete(&s)
	s.Token, s.Lane = j.token, j.lane.String()
	if n := snapshotBytes(&s); n > snapshotBytesMax {
		return nil, verdict.Parked("snapshot too large", fmt.Errorf("%d bytes, %d are allowed", n, snapshotBytesMax))
	}
	return &s, nil
}

var errShutdown = errors.New("the process shuts down")

// failed turns a failure into what becomes of the row, by verdict.
func (f *Fetch) failed(j job, err error) ending {
	now := f.cfg.Now()
	v := verdict.Of(err)
	end := ending{err: err, settlement: settlement{
		next: now, attempts: j.attempts, asked: j.asked, cause: v.Cause, detail: err.Error(),
	}}
	switch {
	case errors.Is(err, errShutdown):
		end.outcome, end.cause, end.detail = outcomeInterrupted, "", ""
	case v.Kind == verdict.Skip:
		end.outcome, end.clear, end.cause, end.detail = outcomeSkipped, true, "", ""
	case v.Kind == verdict.Park:
		end.outcome, end.next = outcomePark, time.Time{}
	case v.Kind == verdict.Stall:
		end.outcome, end.uncalled, end.stalled, end.next = outcomeStall, true, true, now.Add(stallFor)
	case v.Kind == verdict.Hold && v.Scope == verdict.ScopeKey:
		end.outcome, end.next = outcomeHold, later(v.Until, now)
	case v.Kind == verdict.Hold:
		who := accountOf(j.resource)
		end.outcome, end.uncalled = outcomeHold, true
		end.hold = &hold{who, j.lane, later(v.Until, now), now, v.Cause, end.detail}
		end.cause, end.detail = "", "" // the account's row says it once for all of its records
	default: // a retry; and a read that is in doubt did no harm
		end.uncalled = v.Cause == causeUnreachable
		end.outcome = outcomeRetry
		end.attempts++
		end.next = now.Add(backoff(end.attempts, f.cfg.Jitter(), v.After))
	}
	return end
}

// causeUnreachable is vendorhttp's word for a call of which nothing was sent.
const causeUnreachable = "vendor unreachable"

func later(until, now time.Time) time.Time {
	if until.IsZero() {
		return now.Add(holdFor)
	}
	return until
}

// settle writes the row. The same content is written again while the outcome of the write is unknown;
// where that does not help, the lease brings the row back, open, so that it is read and emitted again.
func (f *Fetch) settle(ctx context.Context, j job, end *ending) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	var err error
	for range settleAttempts {
		var mine bool
		mine, err = f.store.settle(ctx, j, end.settlement, f.cfg.Now())
		if err == nil {
			if !mine {
				end.outcome = outcomeOutrun
			}
			return
		}
	}
	f.log.Warn("fetch.settle", observe.Key(j.resource.Key()), observe.Err(err))
}

// settleAttempts is enough for a connection that died; what lasts longer is what the lease is for.
const settleAttempts = 3

// hold is an account that must not be called before a time: not at all, or not for backfill.
type hold struct {
	account
	lane          lane
	until, since  time.Time
	cause, detail string
}

func (f *Fetch) hold(ctx context.Context, h hold) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_, err := f.store.pool.Exec(ctx, postgres.In(f.store.schema, sqlHold),
		h.key(), h.tenant, h.vendor, h.name, h.until, h.since, h.cause, clip(h.detail), h.lane)
	if err != nil {
		return fmt.Errorf("holding account %s: %w", h.key(), postgres.Classify(err))
	}
	return nil
}

// outlive returns a context that ends after limit, or drain after ctx ends, whichever comes first.
func outlive(ctx context.Context, limit, drain time.Duration) (context.Context, context.CancelFunc) {
	own, end := context.WithCancelCause(context.WithoutCancel(ctx))
	bounded, cancel := context.WithTimeout(own, limit)
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(drain, func() { end(errShutdown) })
	})
	return bounded, func() {
		stop()
		cancel()
		end(nil)
	}
}

func interrupted(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errShutdown) }
