package overload

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
)

const (
	// webhooks and sales are what the quiet brokerage has a second, and nine times as many the loud one.
	webhooks, sales = 5, 1
	share           = 9
	// loudMost and slowMost are by how much the others' 99th percentile may grow.
	loudMost, slowMost = 2.0, 1.2
)

// ways are what is measured of the quiet brokerage: a webhook until it is translated, which is intake,
// fetch and translate; a sale until its client is in the CRM, which is all of it.
type ways struct{ translated, effected *tracker }

func TestNobodyWaitsForALoudBrokerageOrASlowKey(t *testing.T) {
	text := os.Getenv("CONVEYANCE_SHARES")
	if text == "" {
		t.Skip("a lane of its own: set CONVEYANCE_SHARES to how long each part takes")
	}
	long, err := time.ParseDuration(text)
	require.NoError(t, err)
	b := start(t, "CONVEYANCE_CALL_DEADLINE=30s")
	ctx, cancel := context.WithCancel(t.Context())
	w := ways{
		watch(ctx, func(ctx context.Context, keys []string) (map[string]bool, error) { return told(ctx, b.Pool, keys) }),
		watch(ctx, people(b, quiet)),
	}
	defer w.translated.looking.Wait()
	defer w.effected.looking.Wait()
	defer cancel()
	w.part(t, b, 1, 10*time.Second, nil) // warm
	alone := w.part(t, b, 2, long, nil)
	crowd := w.part(t, b, 3, long, func(ctx context.Context) {
		go doorOf(b, loud, 3).flood(ctx, webhooks*share, long)
		repeat(ctx, time.Second/(sales*share), func(i int) { _ = sell(ctx, b, loud, i, firstPrice) })
	})
	again := w.part(t, b, 4, long, nil)
	slow := w.part(t, b, 5, long, func(ctx context.Context) {
		require.NoError(t, b.Control(ctx, http.MethodPost, "/followupboss/faults",
			fmt.Sprintf(`{"account":%q,"match":%q,"fault":"slow:30"}`, quiet, "GET /v1/people/"+person(t, b)), nil))
		repeat(ctx, time.Second, func(i int) { _ = sell(ctx, b, quiet, 1_000_000, firstPrice+1+i) })
	})
	require.Zero(t, breaches(t, b), "requests beyond a quota")
	names := []string{"translated", "effected"}
	for i, name := range names { // quiet is the worse of two parts, before and after: a machine has its moods
		calm := alone[i]
		if again[i].p99 > calm.p99 {
			calm = again[i]
		}
		loudly, slowly := ratio(crowd[i], calm), ratio(slow[i], calm)
		t.Logf("shares %s quiet=%s quiet_again=%s one_tenant_90%%=%s ratio=%.2f slow_key=%s ratio=%.2f",
			name, alone[i], again[i], crowd[i], loudly, slow[i], slowly)
		if loudly > loudMost || name == "effected" && slowly > slowMost { // nothing of a CRM's key is in the way of translate
			t.Errorf("%s: others wait too long", name)
		}
	}
}

type measured struct{ p50, p99 time.Duration }

func (m measured) String() string { return fmt.Sprintf("p50:%s,p99:%s", m.p50, m.p99) }

func ratio(a, b measured) float64 { return float64(a.p99) / float64(b.p99) }

// part lets the quiet brokerage live for a time, beside what others do, and measures it.
func (w ways) part(t *testing.T, b *chaos.Bus, series int, long time.Duration, beside func(context.Context)) [2]measured {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	others := make(chan struct{})
	go func() {
		defer close(others)
		if beside != nil {
			beside(ctx)
		}
	}()
	if series == 1 {
		require.NoError(t, sell(ctx, b, quiet, 1_000_000, firstPrice)) // whose client will be slow
		w.effected.begin(mail(quiet, 1_000_000), time.Now())
	}
	d, client := doorOf(b, quiet, 100+series), &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	sold := make(chan struct{})
	go func() {
		defer close(sold)
		repeat(ctx, time.Second/sales, func(i int) {
			n := series*10_000 + i
			at := time.Now()
			if sell(ctx, b, quiet, n, firstPrice) == nil {
				w.effected.begin(mail(quiet, n), at)
			}
		})
	}()
	repeat(ctx, time.Second/webhooks, func(i int) {
		if a := d.deliver(ctx, client, i); a.status == http.StatusOK {
			w.translated.begin(key(quiet, d, i), a.at)
		}
	})
	<-sold
	<-others
	for until := time.Now().Add(patience); w.translated.left()+w.effected.left() > 0; chaos.Pause(t.Context(), 50*time.Millisecond) {
		require.True(t, time.Now().Before(until), "%d webhooks and %d sales of the quiet brokerage never came",
			w.translated.left(), w.effected.left())
	}
	var out [2]measured
	for i, k := range []*tracker{w.translated, w.effected} {
		all := k.take()
		out[i] = measured{quantile(all, 0.5).Round(time.Millisecond), quantile(all, 0.99).Round(time.Millisecond)}
	}
	return out
}

// repeat calls fn every so often until ctx ends.
func repeat(ctx context.Context, every time.Duration, fn func(i int)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			fn(i)
		}
	}
}

// person is the vendor's id of the client that is slow.
func person(t *testing.T, b *chaos.Bus) string {
	t.Helper()
	var all []struct {
		ID     int64 `json:"id"`
		Emails []struct{ Value string }
	}
	require.NoError(t, b.Control(t.Context(), http.MethodGet, "/followupboss/people?tenant="+quiet, "", &all))
	for _, p := range all {
		for _, e := range p.Emails {
			if e.Value == mail(quiet, 1_000_000) {
				return strconv.FormatInt(p.ID, 10)
			}
		}
	}
	require.Fail(t, "the client is not in the CRM")
	return ""
}
