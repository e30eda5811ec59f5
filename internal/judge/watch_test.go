package judge_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/judge"
	"conveyance/internal/ledger"
)

func TestWatcherSeesEachMoveThatMustNotHappen(t *testing.T) {
	t.Parallel()
	pool := prepare(t)
	for name, sql := range map[string]string{
		"an offset fell":                `UPDATE warehouse.consumer_offsets SET next_offset = 2; UPDATE warehouse.consumer_offsets SET next_offset = 3`,
		"a guard fell":                  `UPDATE followupboss.versions SET revision = 1`,
		"an end state was written over": `UPDATE followupboss.ledger SET state = 3 WHERE pos = 2`,
		"a deal went back":              `UPDATE warehouse.deal SET revision = 1 WHERE tenant = 'redrock'`,
		"a link went back":              `UPDATE warehouse.resource_link SET revision = 0`,
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // one database
			v := watched(t, clean(t, pool), func(ctx context.Context, h *history) { h.exec(ctx, sql) })
			require.Len(t, v.Misordered, 1)
			require.Contains(t, v.Misordered[0], name)
			v.Misordered = nil
			require.True(t, v.Clean(), "%+v", v.Findings())
		})
	}
}

// What a bus does all the time, and what a person may do.
func TestWatcherLetsWorkAndARewindPass(t *testing.T) {
	t.Parallel()
	v := watched(t, clean(t, prepare(t)), func(ctx context.Context, h *history) {
		h.exec(ctx, `UPDATE warehouse.consumer_offsets SET next_offset = 3; UPDATE followupboss.versions SET revision = 3`)
		h.exec(ctx, `DELETE FROM followupboss.ledger WHERE pos = 2; INSERT INTO followupboss.ledger (eid, step, pos, topic, part, state, done_at)
			VALUES ('`+redID+`', 0, 2, 'deals.v1', 0, 5, now())`)
		h.exec(ctx, `UPDATE followupboss.ledger SET state = 1 WHERE pos = 2; UPDATE followupboss.ledger SET state = 2 WHERE pos = 2`)
		at := ledger.Place{Topic: "deals.v1", Part: 0}
		require.NoError(h.t, ledger.Rewind(ctx, h.pool, "warehouse", at, 0, "tester", "again"))
		h.exec(ctx, `UPDATE warehouse.consumer_offsets SET next_offset = 3`)
	})
	require.True(t, v.Clean(), "%+v", v.Findings())
}

func TestStandstillDuringAFaultIsFound(t *testing.T) {
	t.Parallel()
	h := clean(t, prepare(t))
	h.byHand = func(ctx context.Context) {
		w, err := judge.Watch(ctx, h.pool, "followupboss", "warehouse", "timeline")
		require.NoError(t, err)
		move := func(sql string) func() { return func() { h.exec(ctx, sql) } }
		require.NoError(t, w.During(ctx, "a kill of warehouse", "warehouse", 1, move(`UPDATE timeline.consumer_offsets SET next_offset = next_offset + 1`)))
		require.NoError(t, w.During(ctx, "a kill of timeline", "timeline", 1, move(`UPDATE timeline.consumer_offsets SET next_offset = 3`)))
	}
	v := h.judged(t.Context())
	require.Equal(t, []string{"during a kill of timeline only 0 records came to their end elsewhere"}, v.Unexplained)
}

func watched(t *testing.T, h *history, during func(context.Context, *history)) judge.Verdict {
	t.Helper()
	h.byHand = func(ctx context.Context) {
		_, err := judge.Watch(ctx, h.pool, "followupboss", "warehouse", "timeline")
		require.NoError(t, err)
		during(ctx, h)
	}
	return h.judged(t.Context())
}
