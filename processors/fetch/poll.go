package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/observe"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

const (
	// chunkRecords and chunkBytes bound what a poll has in hand: whichever comes first is published
	// and recorded. 200 rows are where unnest gains little more; 8 MiB are two of the largest snapshots.
	chunkRecords = 200
	chunkBytes   = 8 << 20
)

var errLeaseLost = errors.New("another poller has the account")

// poll polls one account and gives its lease back. It returns true where the vendor should be left
// alone for a while. Shutdown lets it finish, for drainTimeout.
func (f *Fetch) poll(ctx context.Context, l lease, a tenant.Account) (stalled bool) {
	began := f.cfg.Now()
	work, cancel := outlive(ctx, pollTimeout, drainTimeout)
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
	log := f.log.Debug
	if err != nil {
		log = f.log.Info
	}
	log("poll."+outcome, observe.Tenant(l.tenant), observe.Account(l.key()),
		observe.Duration(f.cfg.Now().Sub(began)), observe.Err(err))
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
	s := &sink{f: f, who: l.account, lane: live}
	if l.first() {
		s.lane = backfill
	}
	take := func(c producers.Change) error { return s.yield(ctx, c) }
	cursor, err := f.vendors[l.vendor].Poller.Poll(ctx, a, l.cursor, take)
	if err == nil {
		err = s.err // a poller that goes on after a refused yield has not reached its end
	}
	if err == nil {
		err = s.flush(ctx)
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
		until := f.cfg.Now().Add(pollLease)
		tag, err := f.store.pool.Exec(ctx, postgres.In(f.store.schema, sqlRenew), l.key(), l.owner, until)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.log.Warn("poll.renew", observe.Account(l.key()), observe.Err(err))
		case tag.RowsAffected() == 0:
			return errLeaseLost
		}
	}
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
	end := f.failed(job{resource: whole, attempts: l.attempts}, err)
	var due *time.Time
	switch {
	case end.hold != nil:
		due = &end.hold.until
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

// sink takes what a poll yields, chunk by chunk.
type sink struct {
	f     *Fetch
	who   account
	lane  lane
	facts []event.VendorSnapshot
	hints []hint
	bytes int
	err   error // the first; nothing is taken after it
}

func (s *sink) yield(ctx context.Context, c producers.Change) error {
	if s.err != nil {
		return s.err
	}
	if accountOf(c.Resource) != s.who || (c.Fact != nil && c.Fact.Resource != c.Resource) {
		s.err = verdict.Parked("vendor's folder yielded another account's record",
			fmt.Errorf("polling %s, got %s", s.who.key(), c.Resource.Key()))
		return s.err
	}
	if c.Fact == nil {
		s.hints = append(s.hints, hint{resource: c.Resource, lane: s.lane, wanted: c.Version, by: "poll"})
	} else {
		fact := *c.Fact
		fact.Lane = s.lane.String()
		s.facts = append(s.facts, fact)
		s.bytes += snapshotBytes(&fact)
	}
	if len(s.facts)+len(s.hints) >= chunkRecords || s.bytes >= chunkBytes {
		return s.flush(ctx)
	}
	return nil
}

// flush starts the facts, publishes them, and records them and the hints in one transaction.
func (s *sink) flush(ctx context.Context) error {
	if s.err == nil {
		s.err = s.pass(ctx)
	}
	s.facts, s.hints, s.bytes = nil, nil, 0
	return s.err
}

func (s *sink) pass(ctx context.Context) error {
	in, err := s.f.begin(ctx, s.facts, "poll")
	if err != nil {
		return err
	}
	if len(in.begun) > 0 {
		outs := make([]stream.Out, len(in.begun))
		for i, b := range in.begun {
			outs[i] = out(b)
		}
		if err := s.f.publish.Publish(ctx, outs...); err != nil {
			return fmt.Errorf("publishing %d records: %w", len(outs), err)
		}
	}
	hints := append(s.hints, in.hints...)
	if len(in.begun)+len(hints) == 0 {
		return nil
	}
	now := s.f.cfg.Now()
	err = postgres.Tx(ctx, s.f.store.pool, func(tx pgx.Tx) error {
		if err := s.f.store.finish(ctx, tx, in.begun); err != nil {
			return err
		}
		return s.f.store.mark(ctx, tx, hints, now)
	})
	if err != nil {
		return fmt.Errorf("recording a chunk of %s: %w", s.who.key(), err)
	}
	s.f.metrics.came(s.who.vendor, in)
	if len(hints) > 0 {
		s.f.wakeWorkers()
	}
	return nil
}
