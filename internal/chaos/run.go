package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"conveyance/internal/judge"
)

// Plan says how much happens. The same seed makes the same deals, and the same choice of faults; when
// they strike is the machine's.
type Plan struct {
	Seed          int64
	Events        int64 // at least so many records in the log, of all topics
	Kills         int   // SIGKILL of any process of up but the simulated vendors and Postgres
	Zombies       int   // rounds in which an owner comes back after another has taken its place
	PostgresKills int   // SIGKILL of the postmaster
	Progress      func(Report)
}

func (p Plan) strikes() int { return p.Kills + p.Zombies + p.PostgresKills }

const (
	// patience is how long the bus may show no progress at the end before it is judged as it is.
	patience = 2 * time.Minute
	// lookEvery is how often a run looks how far it is.
	lookEvery = time.Second
	// watchTries are made to lay the judge's watch, while stages begin to write.
	watchTries = 5
)

// Run starts a bus, tells stories in portions while faults strike, waits until all is at rest and has
// everything judged. It returns an error where the run itself could not be made; what it found is in the
// report. The bus has ended when it returns.
func Run(ctx context.Context, cfg Config, plan Plan) (Report, error) {
	r := &run{plan: plan, report: newReport(plan), began: time.Now()}
	var err error
	if r.Bus, err = Start(ctx, cfg); err != nil {
		return r.report, err
	}
	defer r.finish()
	if err := r.watched(ctx); err != nil {
		return r.look(), err
	}
	work, part := errgroup.WithContext(ctx)
	work.Go(func() error { return r.tell(part) })
	work.Go(func() error { return r.strikeAll(part) })
	if err := r.await(part, work); err != nil {
		return r.look(), err
	}
	return r.judged(ctx)
}

// await shows how far the run is until both the tale and the faults have ended.
func (r *run) await(ctx context.Context, work *errgroup.Group) error {
	done := make(chan error, 1)
	go func() { done <- work.Wait() }()
	for {
		select {
		case err := <-done:
			return err
		case <-r.ended:
			if ctx.Err() == nil {
				err := fmt.Errorf("running the bus: up has ended by itself; it said: %s", r.Said())
				return errors.Join(err, <-done)
			}
		case <-time.After(lookEvery):
		}
		if r.plan.Progress != nil {
			r.plan.Progress(r.look())
		}
	}
}

// watched has Postgres itself write down what must never happen.
func (r *run) watched(ctx context.Context) (err error) {
	for range watchTries {
		if _, err = judge.Watch(ctx, r.Pool, Groups()...); err == nil {
			return nil
		}
		Pause(ctx, lookEvery)
	}
	return err
}

// judged waits until all is at rest, and has the whole history judged.
func (r *run) judged(ctx context.Context) (Report, error) {
	at := time.Now()
	v, err := r.Settle(ctx, patience)
	if err != nil {
		return r.look(), fmt.Errorf("judging: %w", err)
	}
	if v.Clean() { // else it is not at rest, and its history says nothing more
		if err := r.lookBack(ctx); err != nil {
			return r.look(), err
		}
		if v, err = r.Audit(ctx, nil, r.plan.Zombies == 0); err != nil {
			return r.look(), fmt.Errorf("judging the history: %w", err)
		}
	}
	flagged, asked, err := r.words(ctx)
	if err != nil {
		return r.look(), err
	}
	r.mu.Lock()
	r.report.Drained = time.Since(at)
	r.report.Classes.Flagged, r.report.Classes.Asked = flagged, asked
	r.report.verdict(v)
	r.mu.Unlock()
	return r.look(), nil
}
