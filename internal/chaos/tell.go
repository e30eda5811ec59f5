package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"time"

	"conveyance/internal/postgres"
)

// run is one run of the lab.
type run struct {
	*Bus
	plan  Plan
	began time.Time

	mu     sync.Mutex
	report Report
	steps  int            // of stories that were told
	mend   sync.WaitGroup // recoveries that are being measured
}

const (
	// portionFor is how long a portion of the story lasts: the pace is set anew after each.
	portionFor = 15 * time.Second
	// portionMin and portionMax are deals in a portion; lives of fewer overlap little.
	portionMin, portionMax = 10, 600
	// paceMin and paceMax are steps a second. Above, the simulated vendors do not go.
	paceMin, paceMax = 5, 400
	// stepsPerDeal is about how many steps the life of a deal and its envelope have.
	stepsPerDeal = 10
	// recordsPerStep is what a step leaves in the log, until a portion has shown it.
	recordsPerStep = 4.0
	// backlogMax is how many records may wait before the next portion is told. Fewer, and a process that
	// is struck has no work; more, and the CRM's queue grows faster than its quota lets it drain.
	backlogMax = 1000
	// weatherEvery portions the vendors have a bad day.
	weatherEvery = 4
	// A kill, a zombie and a postmaster's kill take about so long, pauses included.
	killTakes, zombieTakes, postgresTakes = 700 * time.Millisecond, 4 * time.Second, 2 * time.Second
)

// tell tells portions until the log holds the plan's events and the last fault has struck.
func (r *run) tell(ctx context.Context) error {
	for n := int64(0); ; n++ {
		events, struck := r.progress()
		if events >= r.plan.Events && struck >= r.plan.strikes() {
			return nil
		}
		pace := r.pace(events)
		deals := min(max(int(pace*portionFor.Seconds()/stepsPerDeal), portionMin), portionMax)
		if n%weatherEvery == 0 {
			if err := r.Weather(ctx); err != nil {
				return err
			}
		}
		if err := r.portion(ctx, r.plan.Seed*1_000_003+n, deals, int(pace)); err != nil {
			return err
		}
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		if n%auditEvery == auditEvery-1 {
			r.conserved(ctx)
		}
	}
}

// pace spreads the events that are still to come over the faults that are.
func (r *run) pace(events int64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	per := recordsPerStep
	if r.steps > 0 {
		per = max(1, float64(events)/float64(r.steps))
	}
	did := r.report.Struck
	left := time.Duration(r.plan.Kills-did.Kills)*killTakes + time.Duration(r.plan.Zombies-did.Zombies)*zombieTakes +
		time.Duration(r.plan.PostgresKills-did.PostgresKills)*postgresTakes
	pace := float64(r.plan.Events-events) / per / max(1, left.Seconds())
	return min(max(pace, paceMin), paceMax)
}

// portion tells one story to its end.
func (r *run) portion(ctx context.Context, seed int64, deals, pace int) error {
	if err := r.Story(ctx, seed, deals, pace); err != nil {
		return err
	}
	for !r.Told(ctx) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.count(ctx)
		Pause(ctx, lookEvery)
	}
	var all []struct {
		Done int `json:"done"`
	}
	if err := r.Control(ctx, http.MethodGet, "/story", "", &all); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = 0
	for _, s := range all {
		r.steps += s.Done
	}
	return nil
}

// catchUp waits until the bus has little left to do.
func (r *run) catchUp(ctx context.Context) error {
	for ctx.Err() == nil {
		if left, err := r.backlog(ctx); err == nil && left <= backlogMax {
			return nil
		} // a part that is away just now is asked again
		r.count(ctx)
		_, _ = r.Operate(ctx) // as above
		Pause(ctx, lookEvery)
	}
	return ctx.Err()
}

// backlog is how many records the groups have before them, and what waits in queues.
func (r *run) backlog(ctx context.Context) (left int64, err error) {
	ends, err := r.Ends(ctx)
	if err != nil {
		return 0, err
	}
	for _, group := range Groups() {
		if err := r.Offsets(ctx, group, func(place string, next int64) { left += max(0, ends[place]-next) }); err != nil {
			return 0, err
		}
	}
	var waiting int64
	err = r.Pool.QueryRow(ctx, sqlWaiting).Scan(&waiting)
	return left + waiting, err
}

// count looks how many records the log holds, if Kafka answers.
func (r *run) count(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	ends, err := r.Ends(within)
	if err != nil {
		return
	}
	sum := int64(0)
	for _, end := range ends {
		sum += end
	}
	r.mu.Lock()
	r.report.Events = max(r.report.Events, sum)
	r.mu.Unlock()
}

func (r *run) progress() (events int64, struck int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.report.Struck
	return r.report.Events, d.Kills + d.Zombies + d.PostgresKills
}

// look is how far the run is.
func (r *run) look() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.report
	out.Zombies, out.Recovery = maps.Clone(out.Zombies), maps.Clone(out.Recovery)
	out.Took = time.Since(r.began)
	return out
}

func (r *run) finish() {
	r.mend.Wait()
	r.Stop(syscall.SIGTERM)
}

// lookBack makes every read-back that is due in an hour or a day due now, and waits for them: what a
// zombie did twice is flagged before the judge looks.
func (r *run) lookBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var left int
		sql := postgres.In("followupboss", sqlReadbackNow)
		if err := r.Pool.QueryRow(ctx, sql).Scan(&left); err != nil {
			return fmt.Errorf("bringing the read-backs forward: %w", err)
		}
		if left == 0 {
			return nil
		}
		Pause(ctx, lookEvery)
	}
}

// words are how many effects the bus itself flagged, and of how many it asked a person.
func (r *run) words(ctx context.Context) (flagged, asked int, err error) {
	if err := r.Pool.QueryRow(ctx, postgres.In("followupboss", sqlFlagged)).Scan(&flagged); err != nil {
		return 0, 0, fmt.Errorf("counting what was flagged: %w", err)
	}
	if err := r.Pool.QueryRow(ctx, postgres.In("followupboss", sqlAsked)).Scan(&asked); err != nil {
		return 0, 0, fmt.Errorf("counting what a person was asked: %w", err)
	}
	return flagged, asked, nil
}

// rng are the choices of a run.
func (p Plan) rng() *rand.Rand {
	return rand.New(rand.NewPCG(uint64(p.Seed), 1)) //nolint:gosec // G404, G115: choices that can be made again, no secret
}
