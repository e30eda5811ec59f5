package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/consumers/warehouse"
	"conveyance/internal/postgres"
	"conveyance/producers/docusign"
)

const (
	// offered is how many webhooks a second come: half more than the 130 events a second that a national
	// franchise has at its peak.
	offered = 200
	// secondsDefault is long enough for 60 deliveries to lie above the 99th percentile.
	secondsDefault = 30
	// dealsThere is how many deals the envelopes belong to.
	dealsThere = 1000
	// seeEvery is how often the warehouse is asked for rows: with the time that an answer takes, the
	// resolution of the latency. More often would take the processor from what is measured.
	seeEvery = 5 * time.Millisecond
)

const (
	// Found by the primary key of deal, by a scan of some thousand rows. It only reads.
	sqlDealsThere = `SELECT count(*) FROM {schema}.deal`

	// Found by the primary keys of signature and resource_link, key by key: a scan of all rows would take
	// the processor from what is measured. It only reads.
	sqlSeen = `
SELECT x.key
  FROM unnest($1::text[]) AS x(key)
 WHERE EXISTS (SELECT FROM {schema}.deal_document d WHERE d.resource_key = x.key OFFSET 0)`
)

// endToEnd offers signed webhooks at a steady rate to the door and sees when each is a row of the
// warehouse, tied to its deal. All stages run as their commands run them, in this process, each with a
// pool of its own. Every delivery holds its envelope whole, so that nothing is read at the vendor: it
// answers in 0 ms. The ceiling is what is offered: who keeps up reaches it, and nobody is faster.
func endToEnd(ctx context.Context, l *lab) (ours, ceiling sample, err error) {
	ceiling.value = offered
	deals := min(l.o.Records, dealsThere)
	if err := l.prepare(ctx, deals); err != nil {
		return ours, ceiling, err
	}
	whole, end := context.WithCancelCause(ctx)
	defer end(nil)
	bus, err := l.bus(whole, end)
	defer bus.close()
	if err != nil {
		return ours, ceiling, err
	}
	g, running := errgroup.WithContext(whole)
	for _, run := range bus.runs {
		g.Go(func() error { return run(running) })
	}
	g.Go(func() (err error) {
		if ours, err = l.offer(running, bus, deals, l.o.Seconds); err == nil {
			end(nil)
		}
		return err
	})
	err = g.Wait()
	if why := context.Cause(whole); why != nil && !errors.Is(why, context.Canceled) {
		err = why // what else went wrong came of it
	}
	return ours, ceiling, err
}

// offer sends the load once the deals are there: a second that does not count, in which connections are
// made and schemas are looked up, then the seconds that do.
func (l *lab) offer(ctx context.Context, bus *bus, deals, seconds int) (sample, error) {
	l.doing("waiting for the deals", nil, bus.ready)
	if err := l.untilDeals(ctx, deals); err != nil {
		return sample{}, err
	}
	const unheard = offered // webhooks of the second that does not count
	if _, err := l.deliveries(ctx, bus, deals, 0, unheard); err != nil {
		return sample{}, err
	}
	return l.deliveries(ctx, bus, deals, unheard, offered*seconds)
}

func (l *lab) untilDeals(ctx context.Context, deals int) error {
	tick := time.NewTicker(time.Second / 10)
	defer tick.Stop()
	for {
		var n int
		err := l.pool.QueryRow(ctx, postgres.In(warehouse.Name, sqlDealsThere)).Scan(&n)
		if err != nil || n >= deals {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// deliveries sends n webhooks, the first of number from, and waits for their rows.
func (l *lab) deliveries(ctx context.Context, bus *bus, deals, from, n int) (sample, error) {
	c := &counter{want: int64(n), done: func() {}}
	l.doing("ours", c, bus.ready)
	g, ctx := errgroup.WithContext(ctx)
	c.begin()
	began := c.first.Load().at
	g.Go(func() error { return courier{bus.url, deals}.send(ctx, began, from, n) })
	seen := &sightings{pool: l.pool, began: began, from: from, n: n, c: c, open: map[string]int{}}
	g.Go(func() error { return seen.watch(ctx) })
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	s := c.sample()
	slices.Sort(seen.took)
	s.p50, s.p99 = percentile(seen.took, 50), percentile(seen.took, 99)
	return s, nil
}

// percentile of sorted times, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	return float64(sorted[len(sorted)*p/100].Microseconds()) / 1000
}

// due is when the i-th delivery of a load is sent, whatever became of those before it.
func due(began time.Time, i int) time.Time {
	return began.Add(time.Duration(i) * time.Second / offered)
}

// sightings are when rows were first seen. A time is that of the answer that held the row, counted from
// when its delivery was due: the row was there for as long as seeEvery and an answer take, and a
// delivery that was sent late is not thereby early.
type sightings struct {
	pool    *pgxpool.Pool
	began   time.Time
	from, n int
	c       *counter
	next    int            // the first that was not due when the warehouse was last asked
	open    map[string]int // deliveries that are due and have no row, by resource
	took    []time.Duration
}

func (s *sightings) watch(ctx context.Context) error {
	tick := time.NewTicker(seeEvery)
	defer tick.Stop()
	for len(s.took) < s.n {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := s.look(ctx); err != nil {
			return fmt.Errorf("looking for rows in the warehouse: %w", err)
		}
	}
	return nil
}

func (s *sightings) look(ctx context.Context) error {
	for ; s.next < s.n && !due(s.began, s.next).After(time.Now()); s.next++ {
		s.open[envelopeOf(s.from+s.next).Key()] = s.next
	}
	asked := make([]string, 0, len(s.open))
	for key := range s.open {
		asked = append(asked, key)
	}
	rows, err := s.pool.Query(ctx, postgres.In(warehouse.Name, sqlSeen), asked)
	if err != nil {
		return err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	at := time.Now()
	for _, key := range there {
		s.took = append(s.took, at.Sub(due(s.began, s.open[key])))
		delete(s.open, key)
	}
	if len(there) > 0 {
		s.c.add(len(there))
	}
	return nil
}

// prepare makes what the stages expect: topics, tables, and the facts of the deals.
func (l *lab) prepare(ctx context.Context, deals int) error {
	for _, name := range []string{
		topic.Webhooks(docusign.Name), topic.Snapshots(docusign.Name), topic.Deals, topic.Contacts, topic.Links,
	} {
		if err := l.topicOf(ctx, name); err != nil {
			return err
		}
	}
	for _, m := range tables() {
		if err := m.Apply(ctx, l.pg.URL); err != nil {
			return err
		}
	}
	return l.fill(ctx, topic.Snapshots("skyslope"), deals, func(i int) (string, event.Message) {
		s := snapshot(i)
		return s.Resource.Key(), s
	})
}
