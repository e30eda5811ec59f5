package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"conveyance/avro/event"
	"conveyance/internal/budget"
	"conveyance/internal/fault"
	"conveyance/internal/observe"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

var errLeaseLost = errors.New("another poller has the account")

// poll polls one account and gives its lease back. It returns true where the vendor should be left
// alone for a while. Shutdown lets it finish, for drainTimeout.
func (f *Fetch) poll(ctx context.Context, l lease, a tenant.Account) (stalled bool) {
	began := f.cfg.Now()
	work, cancel := outlive(budget.WithLane(ctx, l.lane().String()), pollTimeout, drainTimeout)
	defer cancel()
	cursor, err := f.walk(work, l, a)
	if interrupted(work) && err != nil {
		err = errShutdown
	}
	if err == nil {
		err = f.moved(ctx, l, cursor, began)
	}
	outcome := "done"
	if err != nil {
		outcome, stalled = f.notPolled(ctx, l, err)
	}
	f.metrics.polled(l.vendor, outcome)
	log, fields := f.log.Debug, []zap.Field{
		observe.Tenant(l.tenant), observe.Account(l.key()), observe.Duration(f.cfg.Now().Sub(began)),
	}
	if err != nil {
		log, fields = f.log.Info, append(fields, observe.Cause(verdict.Of(err).Cause), observe.Err(err))
	}
	log("poll."+outcome, fields...)
	return stalled
}

// walk polls under a lease that is renewed meanwhile, and returns when all that was yielded is
// acknowledged and recorded.
func (f *Fetch) walk(ctx context.Context, l lease, a tenant.Account) (producers.Cursor, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var renewal sync.WaitGroup
	defer renewal.Wait()
	defer cancel(nil)
	renewal.Go(func() {
		if err := f.renew(ctx, l); err != nil {
			cancel(err)
		}
	})
	s := &sink{f: f, who: l.account, lane: l.lane()}
	take := func(c producers.Change) error { return s.yield(ctx, c) }
	err := fault.At("poll.before")
	var cursor producers.Cursor
	if err == nil {
		cursor, err = f.vendors[l.vendor].Poller.Poll(ctx, a, l.cursor, take)
	}
	if err == nil {
		err = s.err // a poller that goes on after a refused yield has not reached its end
	}
	if err == nil {
		err = s.flush(ctx)
	}
	if err == nil {
		err = fault.At("poll.after")
	}
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errLeaseLost) {
		err = cause
	}
	if err != nil {
		return nil, fmt.Errorf("polling %s: %w", l.key(), err)
	}
	return cursor, nil
}

// renew keeps the lease until ctx ends, or returns errLeaseLost. A Postgres that is away for longer
// than the lease lets another take it: then the cursor is not moved here.
func (f *Fetch) renew(ctx context.Context, l lease) error {
	tick := time.NewTicker(pollLease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch err := f.extend(ctx, l); {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errLeaseLost):
			return err
		case err != nil:
			f.log.Warn("poll.renew", observe.Account(l.key()), observe.Err(err))
		}
	}
}

func (f *Fetch) extend(ctx context.Context, l lease) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	until := f.cfg.Now().Add(pollLease)
	tag, err := f.store.pool.Exec(ctx, postgres.In(f.store.schema, sqlRenew), l.key(), l.owner, until)
	if err != nil {
		return fmt.Errorf("renewing the lease of %s: %w", l.key(), postgres.Classify(err))
	}
	if tag.RowsAffected() == 0 {
		return errLeaseLost
	}
	return nil
}

// moved stores the cursor, where the lease is still this poll's.
func (f *Fetch) moved(ctx context.Context, l lease, cursor producers.Cursor, began time.Time) error {
	every := f.vendors[l.vendor].PollEvery
	if every <= 0 {
		every = pollEveryDefault
	}
	due := began.Add(every + time.Duration((f.cfg.Jitter()-0.5)*2*pollJitter*float64(every)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	var text *string
	if cursor != nil {
		s := string(cursor)
		text = &s
	}
	tag, err := f.store.pool.Exec(ctx, postgres.In(f.store.schema, sqlPolled), l.key(), l.owner, text, began, due)
	if err != nil {
		return fmt.Errorf("storing the cursor of %s: %w", l.key(), postgres.Classify(err))
	}
	if tag.RowsAffected() == 0 {
		return errLeaseLost
	}
	return nil
}

// notPolled gives the lease of a poll back that did not reach its end.
func (f *Fetch) notPolled(ctx context.Context, l lease, err error) (outcome string, stalled bool) {
	if errors.Is(err, errLeaseLost) {
		return "lost", false // nothing of the row is ours
	}
	now := f.cfg.Now()
	whole := event.Resource{Tenant: l.tenant, Vendor: l.vendor, Account: l.name}
	end := f.failed(job{resource: whole, lane: l.lane(), attempts: l.attempts}, err)
	var due *time.Time
	switch {
	case end.hold != nil:
		due, end.cause, end.detail = &end.hold.until, end.hold.cause, end.hold.detail
		if err := f.hold(ctx, *end.hold); err != nil {
			f.log.Warn("poll.hold", observe.Account(l.key()), observe.Err(err))
		}
	case end.outcome == outcomeSkipped:
		next := now.Add(pollEveryDefault)
		due = &next
	case !end.next.IsZero():
		due = &end.next
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_, err = f.store.pool.Exec(ctx, postgres.In(f.store.schema, sqlNotPolled),
		l.key(), l.owner, due, end.attempts, end.cause, clip(end.detail))
	if err != nil {
		f.log.Warn("poll.settle", observe.Account(l.key()), observe.Err(err)) // its lease ends by itself
	}
	return end.outcome, end.stalled
}
