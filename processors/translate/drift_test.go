package translate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/producers"
)

// strange are facts with a status that nobody knows.
func strange(what string) producers.Facts {
	f := status(event.TransactionStatusUnknown)
	f.Deal.VendorStatus = what
	f.Drift = []producers.Drift{{Path: "/status", Kind: producers.DriftUnknownValue, What: what}}
	return f
}

func (s *stage) drifts() []Drift {
	s.t.Helper()
	all, err := Drifts(s.t.Context(), s.pool, s.schema)
	require.NoError(s.t, err)
	return all
}

func TestDriftOutlivesTheProcessIsLoggedAtFirstSightAndAgesOut(t *testing.T) {
	t.Parallel()
	s := open(t)
	core, logged := observer.New(zap.WarnLevel)
	s.log = zap.New(core)
	s.restart(plain{})
	s.handle(read(1, 1, status(pre)))
	require.Empty(t, s.drifts())
	s.handle(read(2, 2, strange("Attorney Review")))
	s.handle(read(2, 2, strange("Attorney Review"))) // a redelivery counts nothing
	s.handle(read(3, 3, strange("Coming Soon")))
	s.handle(read(4, 4, strange("Attorney Review")))
	require.Equal(t, 2, logged.FilterMessage("drift.seen").Len(), "once for each word")
	require.Equal(t, map[string]any{"vendor": "plain", "path": "/status", "kind": "unknown-value", "what": "Attorney Review"},
		logged.All()[0].ContextMap())

	s.restart(plain{})
	s.handle(read(5, 5, strange("Coming Soon")))
	s.handle(read(6, 6, strange("Attorney Review")))
	require.Equal(t, 4, logged.Len(), "a new process says them again")
	all := s.drifts()
	require.Len(t, all, 2)
	newest := all[0]
	require.True(t, newest.First.Before(newest.Last))
	require.True(t, newest.Alarms(time.Now()))
	newest.First, newest.Last = time.Time{}, time.Time{}
	require.Equal(t, Drift{Vendor: "plain", Path: "/status", Kind: producers.DriftUnknownValue, What: "Attorney Review", Count: 3}, newest)

	age := func(by time.Duration) {
		_, err := s.pool.Exec(t.Context(), postgres.In(s.schema, "UPDATE {schema}.drift SET last_at = now() - $1::interval"), by)
		require.NoError(t, err)
	}
	age(DriftListed - time.Minute)
	require.Len(t, s.drifts(), 2)
	age(DriftListed + time.Minute)
	require.Empty(t, s.drifts())
}

func TestOnlyWhatTheVendorChangedAlarmsAndOnlyForADay(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		kind, what string
		age        time.Duration
		want       bool
	}{
		{producers.DriftUnknownValue, "Attorney Review", time.Hour, true},
		{producers.DriftRetyped, "", time.Hour, true},
		{producers.DriftUnknownValue, "Attorney Review", DriftAlarms, false},
		{producers.DriftRetyped, "", DriftAlarms, false},
		{producers.DriftUnknownValue, "", time.Hour, false}, // a mistyped e-mail
		{producers.DriftUnknownField, "", time.Hour, false},
	} {
		require.Equal(t, c.want, Drift{Kind: c.kind, What: c.what, Last: now.Add(-c.age)}.Alarms(now), "%+v", c)
	}
}

func TestDriftOfARepeatedTransactionCountsOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	r := s.record(read(1, 1, strange("Attorney Review")))
	b := stream.NewBatchOf(r.Topic, 0, r)
	require.NoError(t, s.Handle(t.Context(), b))
	cut := errors.New("the connection broke")
	err := postgres.Tx(t.Context(), s.pool, func(tx pgx.Tx) error { return errors.Join(b.Write(t.Context(), tx), cut) })
	require.ErrorIs(t, err, cut)
	require.Empty(t, s.drifts())
	require.NoError(t, postgres.Tx(t.Context(), s.pool, func(tx pgx.Tx) error { return b.Write(t.Context(), tx) }))
	require.Equal(t, int64(1), s.drifts()[0].Count)
	n, err := testutil.GatherAndCount(s.metrics, "conveyance_drift_total")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.InDelta(t, 1, testutil.ToFloat64(s.Translator.metrics.drift), 0)
}

func TestHostileWordsAreKeptShortAndStopNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i, what := range []string{"\x00", strings.Repeat("z", 1<<20), strings.Repeat("ż", 50), "\xff\xfe"} {
		v := int64(i + 1)
		require.NotEmpty(t, s.events(read(v, v, strange(what))))
	}
	for _, d := range s.drifts() {
		require.LessOrEqual(t, len(d.What), wordBytesMax)
	}
}

func TestDriftsCanFillNeitherTheMetricsNorTheTable(t *testing.T) {
	t.Parallel()
	d := &drifts{log: zap.NewNop(), seen: map[drifted]bool{}}
	m, err := newMetrics(nil)
	require.NoError(t, err)
	kept := map[drifted]int{}
	for i := range 3 * driftsMax {
		one := map[drifted]int{{"plain", producers.Drift{Path: "/" + strings.Repeat("x", i), Kind: producers.DriftUnknownField}}: 1}
		bound := d.bound(one)
		require.Equal(t, bound, d.bound(bound), "a repeat is the same")
		for is, n := range bound {
			kept[is] += n
		}
		m.count(nil, bound)
	}
	require.Len(t, kept, driftsMax+1)
	require.Equal(t, 2*driftsMax, kept[drifted{"plain", producers.Drift{Path: "other", Kind: producers.DriftUnknownField}}])
	require.Equal(t, driftsMax+1, testutil.CollectAndCount(m.drift))
}
