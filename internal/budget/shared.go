package budget

import (
	"context"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/fault"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	// purgeAfter is the least age of a grant that is dropped: no learned window is expected to reach
	// further back at once.
	purgeAfter = 5 * time.Minute
	// learnTimeout bounds the note of what an answer said; the call is over and its caller waits.
	learnTimeout = 2 * time.Second
	// grantTries of one Take: again where another process learned another quota meanwhile.
	grantTries = 3
)

// Shared is the Budget of all processes on one Postgres.
type Shared struct {
	*shared
	bucket string
}

type shared struct {
	pool   *pgxpool.Pool
	schema string
	cfg    Config
	now    func() time.Time // this process's clock: for durations only
	dbNow  func() any       // nil in production: Postgres's own clock decides

	mu     sync.Mutex
	purses map[key]*purse
}

type key struct{ vendor, account, bucket string }

var _ Budget = (*Shared)(nil)

// New returns a budget whose tables are in schema.
func New(pool *pgxpool.Pool, schema string, cfg Config) *Shared {
	return &Shared{shared: &shared{
		pool: pool, schema: schema, cfg: cfg,
		now: time.Now, dbNow: func() any { return nil },
		purses: map[key]*purse{},
	}}
}

// In returns the budget of a bucket. It shares everything with s.
func (s *Shared) In(bucket string) Budget { return &Shared{shared: s.shared, bucket: bucket} }

// Take implements Budget. Where an account has two windows it takes of the short one first: what is
// lost, where the long one has nothing left, is made good soon.
func (s *Shared) Take(ctx context.Context, a tenant.Account, lane string) error {
	if err := fault.At("limiter.before"); err != nil {
		return unavailable(err)
	}
	if s.bucket == "" && s.bursts(a) {
		if err := s.take(ctx, a, Burst, lane); err != nil {
			return err
		}
	}
	if err := s.take(ctx, a, s.bucket, lane); err != nil {
		return err
	}
	if err := fault.At("limiter.after"); err != nil {
		return unavailable(err)
	}
	return nil
}

// unavailable is what a caller hears where Postgres gives no token.
func unavailable(err error) error { return verdict.Stalled("postgres unavailable", err) }

// bursts says whether an account has a second window.
func (s *shared) bursts(a tenant.Account) bool {
	if _, configured := s.cfg.Quotas[a.Vendor+"/"+Burst]; configured {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.purses[key{a.Vendor, a.Key(), Burst}] != nil
}

func (s *shared) take(ctx context.Context, a tenant.Account, bucket, lane string) error {
	p := s.purse(a, bucket)
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	hold := func(until time.Time) error {
		scope := verdict.AccountScope(a.Tenant, a.Vendor, a.Name)
		if bucket != "" && bucket != Burst {
			scope = verdict.ScopeKey // the account's other calls go on
		}
		return verdict.Held(scope, until, "budget spent", nil)
	}
	l := p.lease(lane)
	started := s.now()
	if until := p.opens(lane); started.Before(until) {
		return hold(until)
	}
	if l.take(started) {
		return nil
	}
	g, err := s.grant(ctx, p, lane, l.want(started, p.quota().leaseMax()))
	if err != nil {
		return postgres.Classify(err)
	}
	now := s.now()
	if g.n == 0 {
		p.full[lane] = now.Add(g.wait)
		return hold(p.opens(lane))
	}
	l.fill(g.n, started, p.quota().life())
	if !l.take(now) {
		return verdict.RetryAfter(0, "budget answered too late", nil)
	}
	return nil
}

// Learn implements Budget.
func (s *Shared) Learn(ctx context.Context, a tenant.Account, status int, h http.Header) {
	s.learn(ctx, a, s.bucket, read(s.bucket, status, h, s.now()))
	if s.bucket == "" {
		s.learn(ctx, a, Burst, readBurst(h))
	}
}

func (s *shared) learn(ctx context.Context, a tenant.Account, bucket string, w word) {
	if w == (word{}) {
		return
	}
	p := s.purse(a, bucket)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), learnTimeout)
	defer cancel()
	if p.enter(ctx) != nil {
		return // Postgres is slow; the next answer says it again
	}
	defer p.leave()
	if !p.learn(w, s.now()) {
		return
	}
	b := postgres.Timeouts()
	s.queueLearned(b, p)
	if s.pool.SendBatch(ctx, b).Close() == nil {
		p.unsaved = false
	}
}

// grant is a batch of one round trip, or a few where the quota changed meanwhile.
func (s *shared) grant(ctx context.Context, p *purse, lane string, want int) (g granted, err error) {
	for range grantTries {
		q := p.quota()
		b := postgres.Timeouts()
		if p.unsaved {
			s.queueLearned(b, p)
		} else {
			b.Queue(postgres.In(s.schema, sqlEnsure), p.vendor, p.account, p.bucket)
		}
		var stored learned
		b.Queue(postgres.In(s.schema, sqlLock), p.vendor, p.account, p.bucket).
			QueryRow(func(r pgx.Row) error { return r.Scan(&stored.calls, &stored.windowMS) })
		b.Queue(postgres.In(s.schema, sqlGrant), p.vendor, p.account, p.bucket,
			want, q.usable()-q.reserve(lane), q.horizon(), p.learned.calls, p.learned.windowMS, s.dbNow()).
			QueryRow(func(r pgx.Row) error { return r.Scan(&g.n, &g.wait) })
		b.Queue(postgres.In(s.schema, sqlPurge), p.vendor, p.account, p.bucket, max(2*q.horizon(), purgeAfter), s.dbNow())
		if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
			return granted{}, err
		}
		p.unsaved = false
		if stored.equal(p.learned) {
			return g, nil
		}
		p.learned = stored
	}
	return granted{wait: time.Second}, nil // the quota changes faster than we ask
}

type granted struct {
	n    int
	wait time.Duration
}

func (s *shared) queueLearned(b *pgx.Batch, p *purse) {
	var closed *time.Duration
	if left := p.closed.Sub(s.now()); left > 0 {
		closed = &left
	}
	b.Queue(postgres.In(s.schema, sqlLearn), p.vendor, p.account, p.bucket,
		p.learned.calls, p.learned.windowMS, closed, s.dbNow())
}

func (s *shared) purse(a tenant.Account, bucket string) *purse {
	k := key{a.Vendor, a.Key(), bucket}
	if fault.Broken("per-process rate limiter") {
		k.account += strconv.Itoa(os.Getpid())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.purses[k]
	if p == nil {
		p = newPurse(k, s.configured(a.Vendor, bucket))
		s.purses[k] = p
	}
	return p
}

func (s *shared) configured(vendor, bucket string) Quota {
	name := vendor
	if bucket != "" {
		name += "/" + bucket
	}
	q, ok := s.cfg.Quotas[name]
	switch {
	case ok:
		return q
	case bucket == Burst:
		return unknownBurst
	}
	return Unknown
}
