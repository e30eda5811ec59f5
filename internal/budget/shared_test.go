package budget

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
	"conveyance/internal/verdict"
)

func tables(t *testing.T) (*pgxpool.Pool, string) {
	t.Helper()
	pool, schema := testkit.Schema(t)
	m := postgres.Migrations{Schema: schema, Set: "budget", Files: Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	return pool, schema
}

func account(name string) tenant.Account {
	return tenant.Account{Tenant: "lakeshore", Vendor: "followupboss", Name: name}
}

// world is virtual time, the same for Postgres and every process; their clocks differ by an offset.
type world struct {
	at    time.Time
	steps func() time.Duration // how long a round trip takes, each way
}

func (w *world) process(pool *pgxpool.Pool, schema string, q Quota, offset time.Duration) *Shared {
	s := New(pool, schema, Config{Quotas: map[string]Quota{"followupboss": q}})
	s.now = func() time.Time { return w.at.Add(offset) }
	s.dbNow = func() any {
		w.at = w.at.Add(w.steps())
		return w.at
	}
	return s
}

func newWorld() *world {
	return &world{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), steps: func() time.Duration { return 0 }}
}

// most is the largest number of calls in any window.
func most(arrivals []time.Time, window time.Duration) (n int) {
	slices.SortFunc(arrivals, time.Time.Compare)
	from := 0
	for i, at := range arrivals {
		for !arrivals[from].After(at.Add(-window)) {
			from++
		}
		n = max(n, i-from+1)
	}
	return n
}

func TestVendorNeverSeesMoreThanItsQuotaInAnyWindow(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	var runs int
	rapid.Check(t, func(r *rapid.T) {
		runs++
		q := Quota{
			Calls:  rapid.IntRange(1, 80).Draw(r, "calls"),
			Window: time.Duration(rapid.IntRange(1, 60).Draw(r, "seconds")) * time.Second,
		}
		w := newWorld()
		w.steps = func() time.Duration { return time.Duration(rapid.IntRange(0, 900).Draw(r, "trip")) * time.Millisecond }
		offset := func() time.Duration {
			return time.Duration(rapid.IntRange(-3600, 3600).Draw(r, "offset")) * time.Second
		}
		processes := make([]*Shared, 3)
		for i := range processes {
			processes[i] = w.process(pool, schema, q, offset())
		}
		a := account(fmt.Sprint("property", runs))
		var arrivals []time.Time
		opens := w.at
		take := func() {
			p := rapid.SampledFrom(processes).Draw(r, "process")
			err := p.Take(t.Context(), a, rapid.SampledFrom([]string{LaneLive, LaneLive, LaneBackfill}).Draw(r, "lane"))
			if err == nil {
				late := rapid.SampledFrom([]time.Duration{0, delay / 2, delay}).Draw(r, "late")
				arrivals = append(arrivals, w.at.Add(late))
				return
			}
			v := verdict.Of(err)
			if v.Kind == verdict.Retry && v.Cause == "budget answered too late" {
				return
			}
			require.Equal(r, verdict.Hold, v.Kind, err)
			require.Equal(r, verdict.AccountScope(a.Tenant, a.Vendor, a.Name), v.Scope)
			require.True(r, v.Until.After(p.now()), "it opens in the future")
			opens = w.at.Add(v.Until.Sub(p.now()))
		}
		r.Repeat(map[string]func(*rapid.T){
			"burst": func(r *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(r, "n") {
					take()
				}
			},
			"wait a little": func(r *rapid.T) {
				w.at = w.at.Add(time.Duration(rapid.IntRange(1, 1500).Draw(r, "ms")) * time.Millisecond)
			},
			"wait for the end of a lease": func(r *rapid.T) {
				early := time.Duration(rapid.IntRange(1, 1000).Draw(r, "ms early")) * time.Millisecond
				w.at = w.at.Add(q.life() - early)
			},
			"wait until it opens": func(*rapid.T) {
				if opens.After(w.at) {
					w.at = opens
				}
			},
			"crash": func(r *rapid.T) {
				processes[rapid.IntRange(0, 2).Draw(r, "process")] = w.process(pool, schema, q, offset())
			},
			"": func(r *rapid.T) {
				require.LessOrEqual(r, most(arrivals, q.Window), q.usable())
			},
		})
	})
}

func TestProcessesThatAskAtOnceShareOneQuota(t *testing.T) {
	t.Parallel()
	_, schema := tables(t)
	q := Quota{Calls: 100, Window: time.Minute}
	var took atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		pool, err := postgres.Open(t.Context(), testkit.PostgresURL(t), "test")
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		s := New(pool, schema, Config{Quotas: map[string]Quota{"followupboss": q}})
		for range 4 {
			wg.Go(func() {
				for s.Take(t.Context(), account("main"), LaneLive) == nil {
					took.Add(1)
				}
			})
		}
	}
	wg.Wait()
	require.LessOrEqual(t, took.Load(), int64(q.usable()))
	require.Greater(t, took.Load(), int64(q.usable()/2))
}

func TestGrantSeesWhatTheHolderOfTheLockBeforeItGranted(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	s := New(pool, schema, Config{Quotas: map[string]Quota{"followupboss": {Calls: 10, Window: time.Minute}}})
	require.NoError(t, s.Take(t.Context(), account("main"), LaneLive)) // makes the row
	took := make(chan error, 1)
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		var stored learned
		require.NoError(t, tx.QueryRow(t.Context(), postgres.In(schema, sqlLock), "followupboss", "lakeshore/followupboss/main", "").
			Scan(&stored.calls, &stored.windowMS))
		go func() { took <- s.Take(t.Context(), account("main"), LaneLive) }()
		waits := "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'"
		require.Eventually(t, func() (yes bool) {
			require.NoError(t, pool.QueryRow(t.Context(), waits, schema).Scan(&yes))
			return yes || len(took) > 0
		}, testkit.Patience, testkit.Look)
		_, err := tx.Exec(t.Context(), postgres.In(schema, "INSERT INTO {schema}.token_grant VALUES ($1, $2, '', clock_timestamp(), 8)"),
			"followupboss", "lakeshore/followupboss/main")
		return err
	}))
	require.Equal(t, "budget spent", verdict.Of(<-took).Cause)
}

func TestLeaseLivesFromBeforeItWasAskedFor(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	s := w.process(pool, schema, Quota{Calls: 250, Window: 10 * time.Second}, 0)
	require.NoError(t, s.Take(t.Context(), account("main"), LaneLive))
	w.steps = func() time.Duration { return 400 * time.Millisecond } // twice in a round trip
	require.NoError(t, s.Take(t.Context(), account("main"), LaneLive))
	grants := func() (n int) {
		sql := postgres.In(schema, "SELECT count(*) FROM {schema}.token_grant")
		require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&n))
		return n
	}
	require.Equal(t, 2, grants(), "and one token of the second is left")
	w.at = w.at.Add(300 * time.Millisecond)
	w.steps = func() time.Duration { return 0 }
	require.NoError(t, s.Take(t.Context(), account("main"), LaneLive))
	require.Equal(t, 3, grants(), "which is too old 1.1 s after it was asked for")
	w.steps = func() time.Duration { return time.Second }
	require.Equal(t, "budget answered too late", verdict.Of(s.Take(t.Context(), account("fresh"), LaneLive)).Cause)
}

func drain(t *testing.T, s Budget, lane string) (n int, until time.Time) {
	t.Helper()
	for {
		err := s.Take(t.Context(), account("main"), lane)
		if err != nil {
			return n, verdict.Of(err).Until
		}
		n++
	}
}

func TestLiveFindsTokensWhileBackfillIsHeldAndBackfillUsesWhatIsIdle(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	s := w.process(pool, schema, Quota{Calls: 250, Window: 10 * time.Second}, 0)
	history, until := drain(t, s, LaneBackfill)
	require.Equal(t, 180, history)
	require.Equal(t, w.at.Add(12*time.Second), until)
	live, _ := drain(t, s, LaneLive)
	require.Equal(t, 45, live)
	w.at = until
	live, _ = drain(t, s, LaneLive)
	require.Equal(t, 225, live, "all is open again")
	history, _ = drain(t, s, LaneBackfill)
	require.Zero(t, history, "live took it all")
}

func TestRefusalIsAnsweredFromMemoryUntilTheWindowOpens(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	s := w.process(pool, schema, Quota{Calls: 10, Window: 10 * time.Second}, 0)
	asked := 0
	inner := s.dbNow
	s.dbNow = func() any { asked++; return inner() }
	n, until := drain(t, s, LaneLive)
	require.Equal(t, 9, n)
	before := asked
	for range 100 {
		require.Error(t, s.Take(t.Context(), account("main"), LaneLive))
	}
	require.Equal(t, before, asked)
	w.at = until
	require.NoError(t, s.Take(t.Context(), account("main"), LaneLive))
}

func TestLeasesGrowWithDemandAndUnusedOnesAreLost(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	s := w.process(pool, schema, Quota{Calls: 1000, Window: 10 * time.Second}, 0)
	batches := 0
	inner := s.dbNow
	s.dbNow = func() any { batches++; return inner() }
	for range 119 {
		require.NoError(t, s.Take(t.Context(), account("main"), LaneLive))
	}
	require.Equal(t, 2*7, batches, "1 2 4 8 16 32 56: seven round trips of two statements with a clock")
	w.at = w.at.Add(2 * time.Second)
	require.NoError(t, s.Take(t.Context(), account("main"), LaneLive))
	var granted int
	require.NoError(t, pool.QueryRow(t.Context(), postgres.In(schema, "SELECT sum(n) FROM {schema}.token_grant")).Scan(&granted))
	require.Greater(t, granted, 120, "what was leased and not used stays spent")
}

func TestRetryAfterClosesTheAccountForEveryProcessAndLeasesEnd(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	q := Quota{Calls: 250, Window: 10 * time.Second}
	one, two := w.process(pool, schema, q, 0), w.process(pool, schema, q, time.Hour)
	for range 3 { // leaves a lease in hand
		require.NoError(t, one.Take(t.Context(), account("main"), LaneLive))
	}
	one.Learn(t.Context(), account("main"), 429, http.Header{"Retry-After": {"30"}})
	for _, s := range []*Shared{one, two} {
		v := verdict.Of(s.Take(t.Context(), account("main"), LaneLive))
		require.Equal(t, "budget spent", v.Cause)
		require.Equal(t, 30*time.Second, v.Until.Sub(s.now()))
	}
	require.NoError(t, two.Take(t.Context(), account("other"), LaneLive), "another account")
	w.at = w.at.Add(30 * time.Second)
	require.NoError(t, one.Take(t.Context(), account("main"), LaneLive))
	require.NoError(t, two.Take(t.Context(), account("main"), LaneLive))
}

func TestLearnedQuotaHoldsForEveryProcessAndAfterARestart(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	q := Quota{Calls: 250, Window: 10 * time.Second}
	one, two := w.process(pool, schema, q, 0), w.process(pool, schema, q, 0)
	require.NoError(t, two.Take(t.Context(), account("main"), LaneLive))
	one.Learn(t.Context(), account("main"), 200, http.Header{
		"X-Ratelimit-Limit": {"20"}, "X-Ratelimit-Window": {"60"}, "X-Ratelimit-Context": {"global"}, "X-Ratelimit-Remaining": {"19"},
	})
	n, _ := drain(t, one, LaneLive)
	m, _ := drain(t, two, LaneLive)
	require.Equal(t, 18, 1+n+m)
	again := w.process(pool, schema, q, 0)
	n, until := drain(t, again, LaneLive)
	require.Zero(t, n)
	require.Equal(t, w.at.Add(66*time.Second), until)
}

func TestBucketsAreApart(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	s := w.process(pool, schema, Quota{Calls: 250, Window: 10 * time.Second}, 0)
	s.cfg.Quotas["followupboss/people.put"] = Quota{Calls: 25, Window: 10 * time.Second}
	n, _ := drain(t, s.In("people.put"), LaneLive)
	require.Equal(t, 22, n)
	s.In("people.put").Learn(t.Context(), account("main"), 429, http.Header{})
	s.Learn(t.Context(), account("main"), 200, http.Header{"X-Ratelimit-Limit": {"10"}, "X-Ratelimit-Context": {"notes"}})
	n, _ = drain(t, s, LaneLive)
	require.Equal(t, 225, n)
}

func TestWithoutPostgresThereIsNoToken(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(t.Context(), testkit.PostgresURL(t), "test")
	require.NoError(t, err)
	pool.Close()
	s := New(pool, "gone", Config{})
	require.Error(t, s.Take(t.Context(), account("main"), LaneLive))
	s.Learn(t.Context(), account("main"), 429, http.Header{"Retry-After": {"5"}})
	require.Equal(t, "budget spent", verdict.Of(s.Take(t.Context(), account("main"), LaneLive)).Cause, "obeyed in this process")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Take(ctx, account("other"), LaneLive), context.Canceled)
}

func TestClosingThatCouldNotBeWrittenIsWrittenWithTheNextGrant(t *testing.T) {
	t.Parallel()
	pool, schema := tables(t)
	w := newWorld()
	s := w.process(pool, schema, Quota{Calls: 100, Window: 10 * time.Second}, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dead, err := postgres.Open(t.Context(), testkit.PostgresURL(t), "test")
	require.NoError(t, err)
	dead.Close()
	s.pool = dead
	s.Learn(ctx, account("main"), 200, http.Header{"X-Ratelimit-Limit": {"10"}})
	s.pool = pool
	require.NoError(t, s.Take(t.Context(), account("main"), LaneLive))
	n, _ := drain(t, w.process(pool, schema, Quota{Calls: 100, Window: 10 * time.Second}, 0), LaneLive)
	require.Equal(t, 8, n)
}
