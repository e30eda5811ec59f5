package fetch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"conveyance/internal/observe"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

const (
	// pollLook is how often a process looks for accounts to poll: with the age of a process's view of
	// tenants (2.5 s) a new account is found within 5 s.
	pollLook = time.Second
	// pollEveryDefault is for vendors that name no interval.
	pollEveryDefault = time.Minute
	// pollJitter is the part of the interval by which polls are spread.
	pollJitter = 0.1
	// pollLease is how long a poll that nobody renews keeps others away: a dead process's accounts are
	// polled again after it.
	pollLease = 30 * time.Second
	// pollTimeout ends a poll that hangs: a first sight of 10,000 records at 2 pages a second is done
	// in minutes.
	pollTimeout = 30 * time.Minute
)

// Pollers poll accounts. Several processes may run them at once: each account has one poller.
type Pollers struct {
	f *Fetch
	readiness

	// The rest belongs to the goroutine of Run.
	enrolled map[account]bool
	inHand   int
	firsts   int // polls of accounts that are seen for the first time
	stalled  map[string]time.Time
	returned chan polled
}

// Pollers returns pollers that do not run yet. Run may be called once.
func (f *Fetch) Pollers() *Pollers {
	return &Pollers{
		f: f, enrolled: map[account]bool{}, stalled: map[string]time.Time{},
		returned: make(chan polled, f.cfg.Polls),
	}
}

// lease is a poll that this process may make.
type lease struct {
	account
	owner    uuid.UUID // only its holder moves the cursor
	cursor   producers.Cursor
	attempts int
}

// first is true for an account that was never polled to an end: all of it comes, in the backfill lane.
func (l lease) first() bool { return l.cursor == nil }

func (l lease) lane() lane {
	if l.first() {
		return backfill
	}
	return live
}

// polled is a lease that came back.
type polled struct {
	lease
	stalled bool
}

// Run polls every account of every vendor that has a poller, each at its vendor's interval, until ctx
// ends; then it waits for polls in flight, drainTimeout at most. It outlives Postgres, Kafka and the
// vendors being away; Ready says so.
func (p *Pollers) Run(ctx context.Context) error {
	var hands sync.WaitGroup
	defer hands.Wait()
	measure := time.NewTicker(measureEvery)
	defer measure.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-p.returned:
			p.back(b)
		case <-measure.C:
			p.measure(ctx)
		case <-look.C:
			due, err := p.due(ctx)
			p.set(err)
			if err != nil && ctx.Err() == nil {
				p.f.log.Warn("poll.lease", observe.Err(err))
			}
			for _, d := range due {
				p.hand(d.lease, 1)
				hands.Go(func() {
					p.returned <- polled{d.lease, p.f.poll(ctx, d.lease, d.with)} // as many places as hands
				})
			}
			look.Reset(pollLook)
		}
	}
}

// duePoll is a lease with the account that it is made with.
type duePoll struct {
	lease
	with tenant.Account
}

// due leases what is to be polled now, as far as there are free hands. First sights, which are long,
// get half of them.
func (p *Pollers) due(ctx context.Context) ([]duePoll, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	now := p.f.cfg.Now()
	open, err := p.open(ctx, now)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	if err := p.enroll(ctx, open, now); err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(open))
	for who := range open {
		keys = append(keys, who.key())
	}
	free := p.f.cfg.Polls - p.inHand
	known, err := p.f.store.lease(ctx, keys, false, free, now)
	if err != nil {
		return nil, err
	}
	firsts, err := p.f.store.lease(ctx, keys, true, min(free-len(known), max(p.f.cfg.Polls/2, 1)-p.firsts), now)
	var due []duePoll
	for _, l := range append(known, firsts...) {
		due = append(due, duePoll{l, open[l.account]})
	}
	return due, err
}

// open are the accounts that may be polled.
func (p *Pollers) open(ctx context.Context, now time.Time) (map[account]tenant.Account, error) {
	all, err := p.f.tenants.Tenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing tenants: %w", err)
	}
	open := map[account]tenant.Account{}
	for _, t := range all {
		for _, a := range t.Accounts {
			if t.Paused || a.Paused || p.f.vendors[a.Vendor].Poller == nil || now.Before(p.stalled[a.Vendor]) {
				continue
			}
			open[account{t.ID, a.Vendor, a.Name}] = a
		}
	}
	return open, nil
}

// enroll makes the rows of accounts that this process has not seen before.
func (p *Pollers) enroll(ctx context.Context, open map[account]tenant.Account, now time.Time) error {
	var keys, tenants, vendors, names []string
	for who := range open {
		if !p.enrolled[who] {
			keys, tenants = append(keys, who.key()), append(tenants, who.tenant)
			vendors, names = append(vendors, who.vendor), append(names, who.name)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	_, err := p.f.store.pool.Exec(ctx, postgres.In(p.f.store.schema, sqlEnroll), keys, tenants, vendors, names, now)
	if err != nil {
		return fmt.Errorf("enrolling %d accounts: %w", len(keys), postgres.Classify(err))
	}
	for who := range open {
		p.enrolled[who] = true
	}
	return nil
}

func (p *Pollers) hand(l lease, n int) {
	p.inHand += n
	if l.first() {
		p.firsts += n
	}
}

func (p *Pollers) back(b polled) {
	p.hand(b.lease, -1)
	if b.stalled {
		p.stalled[b.vendor] = p.f.cfg.Now().Add(stallFor)
	}
}

// measure sets the ages of polls. What it cannot read stays as it was.
func (p *Pollers) measure(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ages, _ := p.f.store.polled(ctx)
	for who, at := range ages {
		p.f.metrics.pollAge.WithLabelValues(who).Set(p.f.cfg.Now().Sub(at).Seconds())
	}
}

// polled is when each poll last reached its end, by account.
func (s store) polled(ctx context.Context) (map[string]time.Time, error) {
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlPollAges))
	if err != nil {
		return nil, err
	}
	ages := map[string]time.Time{}
	var who account
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&who.tenant, &who.vendor, &who.name, &at}, func() error {
		ages[who.key()] = at.UTC()
		return nil
	})
	return ages, err
}

// lease takes due polls of accounts that were, or were not, polled to an end before.
func (s store) lease(ctx context.Context, keys []string, first bool, n int, now time.Time) ([]lease, error) {
	if n <= 0 {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlLease), keys, now, first, n, now.Add(pollLease))
	if err != nil {
		return nil, fmt.Errorf("leasing polls: %w", postgres.Classify(err))
	}
	leases, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (l lease, err error) {
		err = r.Scan(&l.tenant, &l.vendor, &l.name, (*[]byte)(&l.cursor), &l.owner, &l.attempts)
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("leasing polls: %w", postgres.Classify(err))
	}
	return leases, nil
}
