package fetch

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/budget"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
	"conveyance/internal/verdict"
)

// workers runs the stage's workers until the test ends.
func (b *bench) workers(t *testing.T) { running(t, b.Workers().Run) }

func running(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

func (b *bench) eventually(t *testing.T, is func() bool) {
	t.Helper()
	require.Eventually(t, is, testkit.Patience, testkit.Look)
}

// alive is a fetch of a record that is there, whoever's it is.
func alive(_ context.Context, r event.Resource) (event.VendorSnapshot, error) {
	return state{version: 1, body: r.ID}.snapshot(r), nil
}

func many(tenantID string, n int) []event.Resource {
	rs := make([]event.Resource, n)
	for i := range rs {
		rs[i] = saleOf(tenantID, time.Duration(i).String())
	}
	return rs
}

func TestOneRecordOfAQuietAccountDoesNotWaitForTenThousandOfABusyOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.Concurrency = 8 })
	b.tenants.add("redrock", nil)
	b.hint(t, many("lakeshore", 10_000)...)
	var calls atomic.Int64
	behind := make(chan int64, 1)
	b.vendor.fetch = func(ctx context.Context, r event.Resource) (event.VendorSnapshot, error) {
		n := calls.Add(1)
		switch {
		case n == 50: // the busy account has been at it for a while
			_, err := b.desk.MarkDirty(ctx, []event.Resource{saleOf("redrock", "1")}, "live", "test")
			require.NoError(t, err)
		case r.Tenant == "redrock":
			behind <- n - 50
		}
		return alive(ctx, r)
	}
	b.workers(t)
	require.Less(t, <-behind, int64(32), "calls for the busy account before the quiet one's")
}

func TestLiveGoesBeforeBackfill(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.Concurrency = 1 })
	_, err := b.desk.MarkDirty(t.Context(), many("lakeshore", 500), "backfill", "reconcile")
	require.NoError(t, err)
	var lanes []string
	var spent string // the lane of the call before
	done := make(chan struct{})
	b.log.before = func(s *event.VendorSnapshot) error {
		require.Equal(t, spent, s.Lane)
		lanes = append(lanes, s.Lane) // one hand
		switch {
		case len(lanes) == 5:
			b.hint(t, sale("now"), sale("2ns")) // one is new, one waits in the other lane
		case len(lanes) == 10:
			close(done)
		}
		return nil
	}
	b.vendor.fetch = func(ctx context.Context, r event.Resource) (event.VendorSnapshot, error) {
		spent = budget.LaneOf(ctx)
		return alive(ctx, r)
	}
	b.workers(t)
	<-done
	require.Equal(t, []string{"live", "live"}, lanes[5:7])
}

func TestPausedAndUnknownAccountsAreNotCalled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tenants.add("paused", func(t *tenant.Tenant) { t.Paused = true })
	b.tenants.add("half", func(t *tenant.Tenant) { t.Accounts[0].Paused = true })
	b.vendor.fetch = alive
	b.hint(t, saleOf("paused", "1"), saleOf("half", "1"), saleOf("nobody", "1"), sale("1"))
	b.workers(t)
	b.eventually(t, func() bool { return b.why(t, sale("1")).State == StateClean })
	require.Equal(t, []event.Resource{sale("1")}, b.vendor.called())
	rows, err := b.desk.Stuck(t.Context(), Filter{})
	require.NoError(t, err)
	causes := map[string]string{}
	for _, r := range rows {
		require.Equal(t, KindHeld, r.Kind)
		causes[r.Tenant] = r.Cause
	}
	require.Equal(t, map[string]string{
		"paused": causeTenantPaused, "half": causeAccountPaused, "nobody": causeUnknownTenant,
	}, causes)

	b.tenants.add("paused", nil)
	b.eventually(t, func() bool { return b.why(t, saleOf("paused", "1")).State == StateClean })
}

func TestRefusedAccountWaitsAloneAndResumesByItself(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tenants.add("redrock", nil)
	var mended atomic.Bool
	var refused atomic.Int64
	b.vendor.fetch = func(ctx context.Context, r event.Resource) (event.VendorSnapshot, error) {
		if r.Tenant == "lakeshore" && !mended.Load() {
			refused.Add(1)
			scope := verdict.AccountScope("lakeshore", "acme", "main")
			return event.VendorSnapshot{}, verdict.Held(scope, b.clock.now().Add(time.Hour), "account refused", errors.New("401"))
		}
		return alive(ctx, r)
	}
	b.hint(t, append(many("lakeshore", 50), many("redrock", 50)...)...)
	b.workers(t)
	b.eventually(t, func() bool { return len(b.log.all()) == 50 })
	require.LessOrEqual(t, refused.Load(), int64(perAccountMax), "all replicas leave the account alone")
	rows, err := b.desk.Stuck(t.Context(), Filter{})
	require.NoError(t, err)
	began, until := b.clock.now(), b.clock.now().Add(time.Hour)
	require.Equal(t, []Row{{
		Kind: KindHeld, Cause: "account refused", Scope: verdict.AccountScope("lakeshore", "acme", "main"),
		Tenant: "lakeshore", Vendor: "acme", Account: "main", Count: 50, Oldest: &began, NextTry: &until,
	}}, withoutPolls(rows))
	mended.Store(true)
	b.clock.pass(time.Hour)
	b.eventually(t, func() bool { return len(b.log.all()) == 100 })
}

func withoutPolls(rows []Row) (out []Row) {
	for _, r := range rows {
		if !r.Poll {
			out = append(out, r)
		}
	}
	return out
}

func TestStalledVendorIsLeftAloneAndItsRowsSpendNoAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.Workers()
	b.hint(t, sale("1"))
	jobs, err := w.take(t.Context())
	require.NoError(t, err)
	require.Len(t, jobs, 1)
	b.vendor.fetch = func(context.Context, event.Resource) (event.VendorSnapshot, error) {
		return event.VendorSnapshot{}, verdict.Stalled("vendor acme is down", nil)
	}
	jobs[0].stalled, jobs[0].hold = b.work(t.Context(), jobs[0].job, jobs[0].with)
	w.back(jobs[0])
	b.hint(t, sale("2"))
	jobs, err = w.take(t.Context())
	require.NoError(t, err)
	require.Empty(t, jobs)
	b.clock.pass(stallFor)
	jobs, err = w.take(t.Context())
	require.NoError(t, err)
	require.Len(t, jobs, 2)
	require.Zero(t, jobs[0].attempts)
}

func TestRowOfADeadWorkerComesBackAfterItsLease(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.hint(t, sale("1"))
	b.takeOne(t) // and dies
	require.Equal(t, StateReading, b.why(t, sale("1")).State)
	b.clock.pass(rowLease - time.Second)
	require.Empty(t, b.takeAll(t))
	b.clock.pass(time.Second)
	require.True(t, b.takeOne(t).unfinished)
	require.Less(t, callTimeout+publishTimeout+settleTimeout+storeTimeout, rowLease)
}

func TestShutdownLetsAReadInFlightFinish(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	called, goOn := make(chan struct{}), make(chan struct{})
	b.vendor.fetch = func(ctx context.Context, r event.Resource) (event.VendorSnapshot, error) {
		close(called)
		<-goOn
		require.NoError(t, ctx.Err())
		return alive(ctx, r)
	}
	b.hint(t, sale("1"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Workers().Run(ctx) }()
	<-called
	cancel()
	close(goOn)
	require.NoError(t, <-done)
	require.Len(t, b.log.all(), 1)
	require.Equal(t, StateClean, b.why(t, sale("1")).State)
}

func TestShutdownCutsAReadThatHangsAndSpendsNoAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.hint(t, sale("1"))
	j := b.takeOne(t)
	b.vendor.fetch = func(ctx context.Context, _ event.Resource) (event.VendorSnapshot, error) {
		<-ctx.Done()
		return event.VendorSnapshot{}, ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(time.Second, cancel)
		in, release := outlive(ctx, callTimeout+publishTimeout, drainTimeout)
		defer release()
		end := b.fetch(in, j, tenant.Account{})
		require.Equal(t, time.Second+drainTimeout, time.Since(began))
		require.Equal(t, outcomeInterrupted, end.outcome)
		require.Zero(t, end.attempts)
		require.Equal(t, b.clock.now(), end.next)

		began = time.Now()
		end = b.fetch(t.Context(), j, tenant.Account{})
		require.Equal(t, callTimeout, time.Since(began))
		require.Equal(t, outcomeRetry, end.outcome)
	})
}

func TestWorkersOutliveATroubledPostgresAndSaySo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.vendor.fetch = alive
	w := b.Workers()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	rename := func(from, to string) {
		_, err := b.store.pool.Exec(t.Context(), "ALTER TABLE "+b.cfg.Schema+"."+from+" RENAME TO "+to)
		require.NoError(t, err)
	}
	rename("resource", "away")
	go func() { done <- w.Run(ctx) }()
	b.eventually(t, func() bool { return w.Ready() != nil })
	rename("away", "resource")
	b.hint(t, sale("1"))
	b.eventually(t, func() bool { return w.Ready() == nil && len(b.log.all()) == 1 })
	cancel()
	require.NoError(t, <-done)
}

func TestRowsOfAHeldAccountComeBackOneByOneUntilOneGoesThrough(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.Workers()
	b.hint(t, many("lakeshore", 20)...)
	calls := 0
	b.vendor.fetch = func(ctx context.Context, r event.Resource) (event.VendorSnapshot, error) {
		if calls++; calls <= perAccountMax+1 {
			scope := verdict.AccountScope("lakeshore", "acme", "main")
			return event.VendorSnapshot{}, verdict.Held(scope, b.clock.now().Add(time.Minute), "vendor limit reached", errors.New("429"))
		}
		return alive(ctx, r)
	}
	for _, want := range []int{perAccountMax, 1, 1, perAccountMax} { // the last but one goes through
		jobs, err := w.take(t.Context())
		require.NoError(t, err)
		require.Len(t, jobs, want)
		for _, j := range jobs {
			j.stalled, j.hold = b.work(t.Context(), j.job, j.with)
			w.back(j)
		}
		b.clock.pass(2 * time.Minute)
	}
}
