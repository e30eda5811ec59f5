package ingest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
	"conveyance/producers/ingest/expect"
)

// watched is a house whose watch has tables.
func watched(t *testing.T, endpoints book) (*house, *Desk) {
	t.Helper()
	pool, schema := testkit.Schema(t)
	m := postgres.Migrations{Schema: schema, Set: "own", Files: Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	h := build(t, endpoints, func(c *Config, d *Deps) { c.Schema, d.Pool = schema, pool })
	return h, NewDesk(pool, schema)
}

var lakeshore = account{"lakeshore", "acme", "main"}

// live lets weeks of weekdays pass, from 9 to 17 in Chicago, with n deliveries an hour.
func (h *house) live(t *testing.T, weeks int, n int64) {
	t.Helper()
	zone, err := time.LoadLocation("America/Chicago")
	require.NoError(t, err)
	c := newCounts()
	for at := h.now.AddDate(0, 0, -7*weeks).Truncate(time.Hour); at.Before(h.now); at = at.Add(time.Hour) {
		c.open[at] = 1<<12 - 1
		local := at.In(zone)
		if day := local.Weekday(); day != time.Saturday && day != time.Sunday && local.Hour() >= 9 && local.Hour() < 17 {
			c.came[accountHour{lakeshore, at}] = n
			c.seen[lakeshore] = seen{came: at.Add(59 * time.Minute)}
		}
	}
	require.NoError(t, h.watch.store.write(t.Context(), c))
}

// pass lets a time pass in which the door is open.
func (h *house) pass(t *testing.T, d time.Duration) {
	t.Helper()
	for end := h.now.Add(d); h.now.Before(end); h.now = h.now.Add(slotMinutes * time.Minute) {
		h.watch.open(h.now)
	}
	require.NoError(t, h.watch.flush(t.Context()))
	require.NoError(t, h.watch.look(t.Context()))
}

func alarms(t *testing.T, d *Desk) []Alarm {
	t.Helper()
	all, err := d.Alarms(t.Context(), "", "", "")
	require.NoError(t, err)
	return all
}

func TestSilenceIsRaisedInWorkingHoursAndEndsWithADelivery(t *testing.T) {
	t.Parallel()
	h, desk := watched(t, twoBrokerages())
	h.now = time.Date(2026, 2, 6, 23, 0, 0, 0, time.UTC) // a Friday evening in Chicago
	h.live(t, 4, 20)
	h.pass(t, 63*time.Hour) // the weekend, until Monday 8:00
	require.Empty(t, alarms(t, desk), "a weekend is no silence")
	h.pass(t, 6*time.Hour)
	last := time.Date(2026, 2, 6, 22, 59, 0, 0, time.UTC)
	got := alarms(t, desk)
	require.Len(t, got, 1)
	require.Contains(t, got[0].Detail, "nothing has come since 2026-02-06T22:59:00Z, when some 1")
	got[0].Detail = ""
	require.Equal(t, Alarm{Tenant: "lakeshore", Vendor: "acme", Account: "main", Kind: KindSilent, Since: last}, got[0])
	require.InDelta(t, 1, testutil.ToFloat64(h.Door.metrics.alarms.WithLabelValues("acme", "lakeshore/acme/main", KindSilent)), 0)
	require.Equal(t, 1, h.logs.FilterMessage("webhook.alarm").Len())
	none, err := desk.Alarms(t.Context(), "redrock", "", "")
	require.NoError(t, err)
	require.Empty(t, none)

	again := newWatch(h.watch.store, twoBrokerages(), h.vendors, h.Door.metrics, h.log, h.watch.now) // a restart
	require.NoError(t, again.look(t.Context()))
	h.pass(t, 100*24*time.Hour)
	require.Equal(t, last, alarms(t, desk)[0].Since, "it stands until something comes")

	require.Equal(t, http.StatusOK, h.deliver(bodyOf("d", "A-1")).StatusCode)
	h.pass(t, time.Minute)
	require.Empty(t, alarms(t, desk))
	require.Equal(t, 1, h.logs.FilterMessage("webhook.alarm.over").Len())
	came, err := desk.Came(t.Context())
	require.NoError(t, err)
	require.Len(t, came, 1)
}

func TestTimeInWhichNoDoorWasOpenIsNoSilence(t *testing.T) {
	t.Parallel()
	h, desk := watched(t, twoBrokerages())
	h.now = time.Date(2026, 2, 10, 16, 0, 0, 0, time.UTC) // a Tuesday, 10:00 in Chicago
	h.live(t, 4, 20)
	h.now = h.now.Add(7 * time.Hour) // down meanwhile
	require.NoError(t, h.watch.flush(t.Context()))
	require.NoError(t, h.watch.look(t.Context()))
	require.Empty(t, alarms(t, desk))
}

func TestNewAccountIsNotJudged(t *testing.T) {
	t.Parallel()
	h, desk := watched(t, twoBrokerages())
	h.now = time.Date(2026, 2, 10, 16, 0, 0, 0, time.UTC)
	h.live(t, 1, 500)
	h.pass(t, 72*time.Hour)
	require.Empty(t, alarms(t, desk))
}

func TestBurstOfRefusedSignaturesAsksForARotatedSecret(t *testing.T) {
	t.Parallel()
	h, desk := watched(t, twoBrokerages())
	wrong := func() {
		h.send(request(http.MethodPost, "/in/acme/"+tokenLakeshore, "rotated", bodyOf("d", "A-1")))
	}
	require.Equal(t, http.StatusOK, h.deliver(bodyOf("d", "A-1")).StatusCode)
	for range 20 { // strangers do not know the path, and have nothing to do with any account
		h.send(request(http.MethodPost, "/in/acme/nobody", "x", "{}"))
	}
	for range runAlarm - 1 {
		wrong()
	}
	h.pass(t, 5*time.Minute)
	require.Empty(t, alarms(t, desk))
	wrong()
	h.pass(t, 5*time.Minute)
	got := alarms(t, desk)
	require.Len(t, got, 1)
	require.Equal(t, KindRotated, got[0].Kind)
	require.Equal(t, "lakeshore", got[0].Tenant)
	require.Contains(t, got[0].Detail, "5 deliveries in a row were refused for their signature, the last good one came at 2026-03-04T15:00:00Z")

	h.pass(t, time.Hour)
	require.Len(t, alarms(t, desk), 1, "nothing good has come since")
	require.Equal(t, http.StatusOK, h.deliver(bodyOf("d", "A-1")).StatusCode)
	h.pass(t, 5*time.Minute)
	require.Empty(t, alarms(t, desk))
}

func TestRefusalsThatAreFarApartAreNoBurst(t *testing.T) {
	t.Parallel()
	h, desk := watched(t, twoBrokerages())
	for range 3 * runAlarm {
		h.send(request(http.MethodPost, "/in/acme/"+tokenLakeshore, "rotated", bodyOf("d", "A-1")))
		h.pass(t, runPause+10*time.Minute)
	}
	require.Empty(t, alarms(t, desk))
}

func TestAlarmOfAnAccountThatIsGoneIsCleared(t *testing.T) {
	t.Parallel()
	b := twoBrokerages()
	h, desk := watched(t, b)
	for range runAlarm {
		h.send(request(http.MethodPost, "/in/acme/"+tokenLakeshore, "rotated", "{}"))
	}
	h.pass(t, 5*time.Minute)
	require.Len(t, alarms(t, desk), 1)
	delete(b.endpoints, "acme/"+tokenLakeshore)
	h.pass(t, 5*time.Minute)
	require.Empty(t, alarms(t, desk))
}

func TestLastUseOfEachKeyIsKeptOverARestart(t *testing.T) {
	t.Parallel()
	h, desk := watched(t, twoBrokerages())
	require.Equal(t, http.StatusOK, h.deliver(bodyOf("d", "A-1")).StatusCode)
	used := h.now
	h.pass(t, 5*time.Minute)
	keys, err := desk.Keys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []KeyUse{{"lakeshore", "acme", "main", "k1", used}}, keys)
	text := `# HELP conveyance_webhook_key_last_used_timestamp_seconds When a key last signed a delivery, at any door.
# TYPE conveyance_webhook_key_last_used_timestamp_seconds gauge
conveyance_webhook_key_last_used_timestamp_seconds{account="lakeshore/acme/main",key="k1",vendor="acme"} 1.7726364e+09
`
	require.NoError(t, testutil.GatherAndCompare(h.metrics, strings.NewReader(text), "conveyance_webhook_key_last_used_timestamp_seconds"))
}

func TestCountsOutliveAPostgresThatIsAway(t *testing.T) {
	t.Parallel()
	h, desk := watched(t, twoBrokerages())
	for range 3 {
		require.Equal(t, http.StatusOK, h.deliver(bodyOf("d", "A-1")).StatusCode)
		h.send(request(http.MethodPost, "/in/acme/"+tokenLakeshore, "rotated", "{}"))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, h.watch.flush(gone))
	for range 2 {
		h.send(request(http.MethodPost, "/in/acme/"+tokenLakeshore, "rotated", "{}"))
	}
	require.Error(t, h.watch.flush(gone))
	h.pass(t, time.Minute)
	require.Len(t, alarms(t, desk), 1, "the run of five was counted over both")
	past, err := h.watch.store.history(t.Context(), h.now.Add(-time.Hour))
	require.NoError(t, err)
	require.Equal(t, map[account][]expect.Hour{lakeshore: {{Start: h.now.Truncate(time.Hour), Came: 3}}}, past)
}

func TestTwoDoorsCountTogether(t *testing.T) {
	t.Parallel()
	h, desk := watched(t, twoBrokerages())
	other := build(t, twoBrokerages(), func(c *Config, d *Deps) { c.Schema, d.Pool = h.cfg.Schema, h.watch.store.pool })
	for i := range runAlarm {
		door := []*house{h, other}[i%2]
		door.send(request(http.MethodPost, "/in/acme/"+tokenLakeshore, "rotated", "{}"))
	}
	require.NoError(t, other.watch.flush(t.Context()))
	h.pass(t, time.Minute)
	require.NoError(t, other.watch.look(t.Context()))
	require.Len(t, alarms(t, desk), 1)
	require.Equal(t, 1, h.logs.FilterMessage("webhook.alarm").Len()+other.logs.FilterMessage("webhook.alarm").Len(), "one of them says it")
}

func TestOldTrafficIsForgotten(t *testing.T) {
	t.Parallel()
	h, _ := watched(t, twoBrokerages())
	h.live(t, 12, 1)
	h.pass(t, time.Minute)
	past, err := h.watch.store.history(t.Context(), time.Time{})
	require.NoError(t, err)
	require.False(t, past[lakeshore][0].Start.Before(h.now.Add(-keepFor-time.Hour)))
}

func TestDoorRunsUntilItsServerEndsAndThenDrains(t *testing.T) {
	t.Parallel()
	h, desk := watched(t, twoBrokerages())
	h.bus.gate = make(chan struct{})
	s, err := Listen(t.Context(), "127.0.0.1:0", h.Handler(), h.log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx, s.Run) }()
	cl, request := client(t, 1), sent(t, s.Addr(), tokenLakeshore, keyLakeshore, bodyOf("d", "A-1"))
	answered := make(chan int, 1)
	go func() {
		resp, err := cl.Do(request)
		if err != nil {
			answered <- 0
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	require.Eventually(t, func() bool { return h.records.used.Load() == 1 }, testkit.Patience, testkit.Look)
	cancel()
	close(h.bus.gate) // acknowledged while it drains
	require.Equal(t, http.StatusOK, <-answered)
	require.NoError(t, <-ended)
	keys, err := desk.Keys(t.Context())
	require.NoError(t, err)
	require.Len(t, keys, 1, "the last counts are written")
}
