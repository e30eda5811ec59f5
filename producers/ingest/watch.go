package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"conveyance/internal/observe"
	"conveyance/internal/tenant"
	"conveyance/producers"
	"conveyance/producers/ingest/expect"
)

const (
	// flushEvery is how often counts are written, one transaction whatever came.
	flushEvery = 3 * time.Second
	// lookEvery is how often alarms are judged.
	lookEvery = 15 * time.Second
	// lastWithin bounds the last flush of a process.
	lastWithin = time.Second
	// learnFrom is how much of the past counts, and keepFor how long it is kept: habits change with the
	// season, and eight of each hour of the week are enough to see its spread.
	learnFrom = 8 * 7 * 24 * time.Hour
	keepFor   = learnFrom + 7*24*time.Hour
	// runPause ends a run of refused signatures, and runAlarm of them are a burst: a vendor that signs
	// with a key that we lack is refused each time, and strangers do not know the path.
	runPause = 10 * time.Minute
	runAlarm = 5
)

// watch judges accounts by what came: silent, or refused. Every process that serves a door does so from
// the same tables, so that any of them may end.
type watch struct {
	tally
	store   store
	tenants tenant.Directory
	vendors map[string]producers.Vendor
	metrics *metrics
	log     *zap.Logger
	now     func() time.Time

	models  map[account]expect.Model
	learned time.Time // the hour in which models were made
}

func newWatch(
	s store, tenants tenant.Directory, vendors map[string]producers.Vendor, m *metrics, log *zap.Logger, now func() time.Time,
) *watch {
	return &watch{tally: tally{c: newCounts()}, store: s, tenants: tenants, vendors: vendors, metrics: m, log: log, now: now}
}

func (w *watch) run(ctx context.Context) {
	flush, look := time.NewTicker(flushEvery), time.NewTicker(lookEvery)
	defer flush.Stop()
	defer look.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			err = w.flush(ctx)
		case <-look.C:
			err = w.look(ctx)
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("webhook.watch", observe.Err(err))
		}
	}
}

// last writes what was counted since the last flush; a count that is lost here is a count.
func (w *watch) last(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWithin)
	defer cancel()
	if err := w.flush(ctx); err != nil {
		w.log.Warn("webhook.watch", observe.Err(err))
	}
}

func (w *watch) flush(ctx context.Context) error {
	w.open(w.now())
	c := w.take()
	if err := w.store.write(ctx, c); err != nil {
		w.put(c)
		return err
	}
	return nil
}

// look judges every account that has a door, and clears the alarms of those that are gone.
func (w *watch) look(ctx context.Context) error {
	now := w.now()
	zones, err := w.zones(ctx)
	if err != nil {
		return err
	}
	last, err1 := w.store.seen(ctx)
	open, err2 := w.store.opens(ctx, now.Add(-keepFor))
	alarms, err3 := w.store.alarms(ctx, "", "", "")
	if err := errors.Join(err1, err2, err3, w.showKeys(ctx)); err != nil {
		return err
	}
	if hour := now.Truncate(time.Hour); !hour.Equal(w.learned) {
		if err := w.learn(ctx, zones, last, open, now); err != nil {
			return err
		}
		w.learned = hour
	}
	standing := map[account]map[string]Alarm{}
	for _, a := range alarms {
		if standing[a.account()] == nil {
			standing[a.account()] = map[string]Alarm{}
		}
		standing[a.account()][a.Kind] = a
	}
	var raise, over []Alarm
	for a := range zones {
		for _, judged := range []Alarm{silent(a, last[a], w.models[a], open, now, standing[a]), rotated(a, last[a], now, standing[a])} {
			if judged.Kind != "" {
				raise = append(raise, judged)
				delete(standing[a], judged.Kind)
			}
		}
	}
	for _, left := range standing {
		for _, a := range left {
			over = append(over, a)
		}
	}
	raised, cleared, err := w.store.settle(ctx, raise, over)
	if err != nil {
		return err
	}
	w.show(last, raise, raised, cleared)
	return nil
}

// zones are the time zones of the accounts that have a door.
func (w *watch) zones(ctx context.Context) (map[account]string, error) {
	all, err := w.tenants.Tenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing tenants: %w", err)
	}
	zones := map[account]string{}
	for _, t := range all {
		for _, a := range t.Accounts {
			if _, ok := w.vendors[a.Vendor]; ok {
				zones[accountOf(a)] = t.TimeZone
			}
		}
	}
	return zones, nil
}

// learn makes the models anew, once an hour, of what came before each account's last delivery: what
// may be silence is not taken for a habit.
func (w *watch) learn(ctx context.Context, zones map[account]string, last map[account]seen, open opens, now time.Time) error {
	past, err := w.store.history(ctx, now.Add(-learnFrom))
	if err != nil {
		return err
	}
	w.models = map[account]expect.Model{}
	for a, name := range zones {
		if len(past[a]) == 0 {
			continue
		}
		zone, err := time.LoadLocation(name)
		if err != nil {
			zone = time.UTC
		}
		hours := open.hours(past[a][0].Start, last[a].came.Truncate(time.Hour))
		came := map[time.Time]int64{}
		for _, h := range past[a] {
			came[h.Start] = h.Came
		}
		for i := range hours {
			hours[i].Came = came[hours[i].Start]
		}
		w.models[a] = expect.Learn(zone, hours)
	}
	return w.store.forget(ctx, now.Add(-keepFor))
}

// silent says whether an account's deliveries are missing. An alarm that stands ends with a delivery,
// not with what is learned of the silence.
func silent(a account, last seen, m expect.Model, open opens, now time.Time, standing map[string]Alarm) Alarm {
	if last.came.IsZero() {
		return Alarm{}
	}
	if s, ok := standing[KindSilent]; ok && !last.came.After(s.Since) {
		return s
	}
	gap := open.hours(last.came, now)
	if !m.Silent(gap) {
		return Alarm{}
	}
	detail := fmt.Sprintf("nothing has come since %s, when some %.0f deliveries were due", stamp(last.came), m.Due(gap))
	if last.refused.After(last.came) {
		detail += fmt.Sprintf("; the last attempt, at %s, was refused for its signature", stamp(last.refused))
	}
	return Alarm{a.tenant, a.vendor, a.name, KindSilent, last.came, detail}
}

// rotated says whether an account's deliveries are signed with a key that we lack. It is over when
// deliveries are signed again and none was refused for a while.
func rotated(a account, last seen, now time.Time, standing map[string]Alarm) Alarm {
	if last.came.After(last.refused) && now.Sub(last.refused) > runPause {
		return Alarm{}
	}
	if s, ok := standing[KindRotated]; ok {
		return s
	}
	if last.run < runAlarm {
		return Alarm{}
	}
	detail := fmt.Sprintf("%d deliveries in a row were refused for their signature", last.run)
	if !last.came.IsZero() {
		detail += ", the last good one came at " + stamp(last.came)
	}
	return Alarm{a.tenant, a.vendor, a.name, KindRotated, last.runSince, detail}
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// show tells the log what changed, and the metrics what is.
func (w *watch) show(last map[account]seen, standing, raised, cleared []Alarm) {
	for _, a := range raised {
		w.log.Warn("webhook.alarm", observe.Account(a.account().key()), observe.Cause(a.Kind), zap.String("detail", a.Detail))
	}
	for _, a := range cleared {
		w.log.Info("webhook.alarm.over", observe.Account(a.account().key()), observe.Cause(a.Kind))
	}
	w.metrics.alarms.Reset()
	for _, a := range standing {
		w.metrics.alarms.WithLabelValues(a.Vendor, a.account().key(), a.Kind).Set(1)
	}
	for a, s := range last {
		if !s.came.IsZero() {
			w.metrics.lastAt.WithLabelValues(a.vendor, a.key()).Set(seconds(s.came))
		}
	}
}

func (w *watch) showKeys(ctx context.Context) error {
	keys, err := w.store.keys(ctx)
	for _, k := range keys {
		w.metrics.keyUsed.WithLabelValues(k.Vendor, account{k.Tenant, k.Vendor, k.Account}.key(), k.Key).Set(seconds(k.UsedAt))
	}
	return err
}

func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
