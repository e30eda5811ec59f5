package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/budget"
	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

func TestParkedRecordWaitsForAPersonWhateverHintsComeAndIsAudited(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := sale("1")
	b.hint(t, r)
	b.vendor.fetch = func(context.Context, event.Resource) (event.VendorSnapshot, error) {
		return event.VendorSnapshot{}, verdict.Parked("vendor refused 400", errors.New("status 400"))
	}
	require.Equal(t, []string{outcomePark}, b.run(t))
	b.hint(t, r)
	b.clock.pass(24 * time.Hour)
	require.Empty(t, b.takeAll(t))
	rows, err := b.desk.Stuck(t.Context(), Filter{Cause: "vendor refused 400"})
	require.NoError(t, err)
	oldest := b.clock.now().Add(-24 * time.Hour)
	require.Equal(t, []Row{{
		Kind: KindParked, Cause: "vendor refused 400", Scope: verdict.ScopeKey,
		Tenant: "lakeshore", Vendor: "acme", Account: "main", Count: 1, Oldest: &oldest,
	}}, rows)
	text, err := json.Marshal(rows[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"kind":"parked","cause":"vendor refused 400","scope":"key","tenant":"lakeshore",
		"vendor":"acme","account":"main","count":1,"oldest":"2026-03-02T09:00:00Z"}`, string(text))
	require.Contains(t, b.why(t, r).Sentence, "for a person: vendor refused 400")

	b.vendor.fetch = alive
	n, err := b.desk.Release(t.Context(), Filter{Resource: r.Key()}, "operator")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	n, err = b.desk.Release(t.Context(), Filter{Resource: r.Key()}, "operator")
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
	require.Equal(t, StateClean, b.why(t, r).State)
	var actions int
	sql := postgres.In(b.cfg.Schema, "SELECT count(*) FROM {schema}.audit WHERE actor = 'operator' AND action = 'release'")
	require.NoError(t, b.store.pool.QueryRow(t.Context(), sql).Scan(&actions))
	require.Equal(t, 2, actions)
}

func TestReleaseLeavesARowInHandToItsWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.hint(t, sale("1"))
	b.takeOne(t)
	n, err := b.desk.Release(t.Context(), Filter{}, "operator")
	require.NoError(t, err)
	require.Zero(t, n)
	require.Empty(t, b.takeAll(t))
}

func TestReleaseOfAnAccountLiftsItsHold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.hint(t, sale("1"))
	b.vendor.fetch = func(context.Context, event.Resource) (event.VendorSnapshot, error) {
		return event.VendorSnapshot{}, verdict.Held(verdict.AccountScope("lakeshore", "acme", "main"), time.Time{}, "account refused", nil)
	}
	b.run(t)
	due, err := b.store.due(t.Context(), b.clock.now(), 10)
	require.NoError(t, err)
	require.Empty(t, due)
	require.Equal(t, "account refused", b.why(t, sale("1")).Cause)
	n, err := b.desk.Release(t.Context(), Filter{Tenant: "lakeshore", Account: "main"}, "operator")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	due, err = b.store.due(t.Context(), b.clock.now(), 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
}

func TestHealedAccountIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	for _, healed := range []verdict.Scope{
		verdict.AccountScope("lakeshore", "acme", "main"), verdict.TenantScope("lakeshore"),
	} {
		b := newBench(t)
		scope := verdict.AccountScope("lakeshore", "acme", "main")
		var since []string
		b.lists(&since, list{err: verdict.Held(scope, b.clock.now().Add(time.Hour), "account refused", nil)})
		b.hint(t, sale("1"))
		b.pollNow(t)
		n, err := b.desk.Wake(t.Context(), verdict.AccountScope("lakeshore", "acme", "other"), verdict.TenantScope("lake"))
		require.NoError(t, err)
		require.Zero(t, n)
		require.Zero(t, b.pollNow(t))
		n, err = b.desk.Wake(t.Context(), healed)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		require.Equal(t, 1, b.pollNow(t))
	}
}

func TestRowsInTheirTurnAreNotStuckUntilNobodyCame(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.hint(t, sale("1"))
	rows, err := b.desk.Stuck(t.Context(), Filter{})
	require.NoError(t, err)
	require.Empty(t, rows)
	b.clock.pass(unservedFor)
	rows, err = b.desk.Stuck(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, "no worker has come to it yet", rows[0].Cause)
}

func TestWhyOfAResourceNobodyNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.desk.Why(t.Context(), sale("1"))
	require.ErrorIs(t, err, ErrUnknownResource)
}

func TestMarkDirtyReadsUnchangedRecordsAndEmitsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.vendor.fetch = alive
	rs := many("lakeshore", markChunk+1)
	for _, lane := range []string{"backfill", "live"} {
		n, err := b.desk.MarkDirty(t.Context(), append(rs, rs[0]), lane, "reconcile")
		require.NoError(t, err)
		require.Len(t, rs, n)
	}
	w := b.why(t, rs[0])
	require.Equal(t, "live", w.Lane)
	require.Equal(t, "reconcile", w.HintedBy)
	_, err := b.desk.MarkDirty(t.Context(), rs, "fast", "reconcile")
	require.ErrorContains(t, err, "use live or backfill")
}

func TestBackfillThatSpentItsBudgetKeepsNothingLiveWaiting(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	lanes := map[string]bool{}
	b.vendor.fetch = func(ctx context.Context, r event.Resource) (event.VendorSnapshot, error) {
		lane := budget.LaneOf(ctx)
		lanes[lane] = true
		if lane == budget.LaneBackfill {
			scope := verdict.AccountScope("lakeshore", "acme", "main")
			return event.VendorSnapshot{}, verdict.Held(scope, b.clock.now().Add(time.Minute), "budget spent", nil)
		}
		return alive(ctx, r)
	}
	_, err := b.desk.MarkDirty(t.Context(), []event.Resource{sale("old"), sale("older")}, "backfill", "reconcile")
	require.NoError(t, err)
	b.run(t)
	b.hint(t, sale("new"))
	due, err := b.store.due(t.Context(), b.clock.now(), 10)
	require.NoError(t, err)
	require.Equal(t, []waiting{{account{"lakeshore", "acme", "main"}, live, 1}}, due)
	require.Equal(t, StateHeld, b.why(t, sale("old")).State)
	require.Equal(t, StateDue, b.why(t, sale("new")).State)
	require.Equal(t, map[string]bool{"backfill": true}, lanes)
	rows, err := b.desk.Stuck(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.EqualValues(t, 2, rows[0].Count)
}
