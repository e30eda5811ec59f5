package fetch

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/observe"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
)

const (
	// idleLook is how often an idle process looks for due rows: a hint waits half of it on average,
	// and five looks a second at an empty index cost Postgres nothing.
	idleLook = 200 * time.Millisecond
	// takeEvery is the shortest time between two looks, so that many short reads share one; where a
	// look takes long (12 ms with 1,000 accounts waiting), it is lookShare times as long.
	takeEvery = 20 * time.Millisecond
	lookShare = 4
	// troubleLook is how often a process looks whose Postgres does not answer.
	troubleLook = time.Second
	// measureEvery is how often gauges are read from the tables.
	measureEvery = 5 * time.Second
)

// Workers read dirty rows. Several processes may run them at once.
type Workers struct {
	f *Fetch
	readiness

	// The rest belongs to the goroutine of Run.
	busy        map[string]int
	wary        map[string]bool // accounts whose last call had them held: one row tries first
	inHand      int
	backfilling int
	after       map[lane]string
	stalled     map[string]time.Time // vendors that are left alone until then
	returned    chan taken
}

// Workers returns workers that do not run yet. Run may be called once.
func (f *Fetch) Workers() *Workers {
	return &Workers{
		f: f, busy: map[string]int{}, wary: map[string]bool{}, after: map[lane]string{}, stalled: map[string]time.Time{},
		returned: make(chan taken, f.cfg.Concurrency),
	}
}

// taken is a job with the account that it is read with; stalled and hold are how it came back.
type taken struct {
	job
	with          tenant.Account
	stalled, hold bool
}

// Run takes and reads due rows until ctx ends, then waits for what is in flight, at most
// drainTimeout for calls and publishing and settleTimeout for rows. It outlives Postgres, Kafka and
// the vendors being away; Ready says so.
func (w *Workers) Run(ctx context.Context) error {
	var hands sync.WaitGroup
	defer hands.Wait()
	measure := time.NewTicker(measureEvery)
	defer measure.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	var looked time.Time
	var took time.Duration
	soon := func() { look.Reset(min(max(takeEvery, lookShare*took), idleLook) - time.Since(looked)) }
	for {
		select {
		case <-ctx.Done():
			return nil
		case t := <-w.returned:
			w.back(t)
			soon()
		case <-w.f.dirtied:
			soon()
		case <-measure.C:
			w.measure(ctx)
		case <-look.C:
			looked = time.Now()
			jobs, err := w.take(ctx)
			took = time.Since(looked)
			w.set(err)
			if err != nil && ctx.Err() == nil {
				w.f.log.Warn("fetch.take", observe.Err(err))
				look.Reset(troubleLook)
				continue
			}
			for _, t := range jobs {
				hands.Go(func() {
					t.stalled, t.hold = w.f.work(ctx, t.job, t.with)
					w.returned <- t // never blocks: as many places as hands
				})
			}
			look.Reset(idleLook)
		}
	}
}

// take leases as many due rows as there are free hands.
func (w *Workers) take(ctx context.Context) ([]taken, error) {
	free := w.f.cfg.Concurrency - w.inHand
	if free == 0 {
		return nil, nil
	}
	now := w.f.cfg.Now()
	due, err := w.f.store.due(ctx, now, perAccountMax)
	if err != nil || len(due) == 0 {
		return nil, err
	}
	with := map[string]tenant.Account{}
	var open []waiting
	for _, d := range due {
		if w.f.vendors[d.vendor].Fetcher == nil || now.Before(w.stalled[d.vendor]) {
			continue
		}
		a, shut, err := lookup(ctx, w.f.tenants, d.account)
		if err != nil {
			return nil, err
		}
		if shut == "" {
			open, with[d.key()] = append(open, d), a
		}
	}
	// Every fourth hand is kept for what happens now.
	deal := fair{
		busy: maps.Clone(w.busy), wary: w.wary, after: w.after, free: free,
		backfillFree: w.f.cfg.Concurrency - w.f.cfg.Concurrency/4 - w.backfilling,
	}
	shares := deal.deal(open)
	if len(shares) == 0 {
		return nil, nil
	}
	jobs, err := w.f.store.take(ctx, shares, w.f.again, now, rowLease)
	if err != nil {
		return nil, err // rows that were taken all the same come back when their lease ends
	}
	out := make([]taken, len(jobs))
	for i, j := range jobs {
		out[i] = taken{job: j, with: with[accountOf(j.resource).key()]}
		w.hand(out[i], 1)
	}
	return out, nil
}

// hand counts a row that is taken (1) or given back (-1).
func (w *Workers) hand(t taken, n int) {
	key := accountOf(t.resource).key()
	w.inHand += n
	if t.lane == backfill {
		w.backfilling += n
	}
	if w.busy[key] += n; w.busy[key] == 0 {
		delete(w.busy, key)
	}
}

func (w *Workers) back(t taken) {
	w.hand(t, -1)
	if key := accountOf(t.resource).key(); t.hold {
		w.wary[key] = true
	} else if !t.stalled {
		delete(w.wary, key)
	}
	if t.stalled {
		w.stalled[t.resource.Vendor] = w.f.cfg.Now().Add(stallFor)
	}
}

// measure reads the gauges. What it cannot read stays as it was: readiness says that Postgres is away.
func (w *Workers) measure(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, err := w.f.store.pool.Query(ctx, postgres.In(w.f.store.schema, sqlDirty))
	if err != nil {
		return
	}
	w.f.metrics.dirty.Reset()
	var vendor string
	var l lane
	var n int64
	_, _ = pgx.ForEachRow(rows, []any{&vendor, &l, &n}, func() error {
		w.f.metrics.dirty.WithLabelValues(vendor, l.String()).Set(float64(n))
		return nil
	})
}

// readiness is why a loop does not work, for /readyz.
type readiness struct {
	mu  sync.Mutex
	err error
}

func (r *readiness) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Ready returns what kept the last look from working, nil where it worked.
func (r *readiness) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
