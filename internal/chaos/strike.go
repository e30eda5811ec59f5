package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"conveyance/internal/postgres"
)

const (
	// restMin and restSpread are how long the bus runs between two faults.
	restMin    = 200 * time.Millisecond
	restSpread = 600 * time.Millisecond
	// ahead is how far, as a share of the plan, the faults may be ahead of the events.
	ahead = 0.03
	// partsOf of ten kills strike the broker or the registry.
	partsOf = 2
	// lateOf of four zombies take an epoch and no more.
	lateOf = 1
)

// strikeAll makes every fault of the plan, in an order of chance, as fast as the events come.
func (r *run) strikeAll(ctx context.Context) error {
	rng := r.plan.rng()
	for {
		events, struck := r.progress()
		left := r.plan.strikes() - struck
		if left <= 0 {
			return nil
		}
		Pause(ctx, restMin+time.Duration(rng.Int64N(int64(restSpread))))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if float64(struck)/float64(r.plan.strikes()) > float64(events)/float64(max(1, r.plan.Events))+ahead {
			continue
		}
		if err := r.strike(ctx, rng, left); err != nil {
			return err
		}
	}
}

func (r *run) strike(ctx context.Context, rng *rand.Rand, left int) error {
	r.mu.Lock()
	did := r.report.Struck
	r.mu.Unlock()
	zombies, postgres := r.plan.Zombies-did.Zombies, r.plan.PostgresKills-did.PostgresKills
	switch n := rng.IntN(left); {
	case n < zombies:
		return r.zombie(ctx, rng)
	case n < zombies+postgres:
		r.kill(ctx, Postmaster, false)
	default:
		name := "broker"
		switch stages := Stages(); {
		case rng.IntN(10) >= partsOf:
			name = stages[rng.IntN(len(stages))]
		case rng.IntN(2) == 0:
			name = "registry"
		}
		r.kill(ctx, name, name != "broker" && rng.IntN(2) == 0)
	}
	return nil
}

// kill kills a process, if it runs, in half of the cases while Kafka does not answer; how long its
// successor takes is measured beside.
func (r *run) kill(ctx context.Context, name string, unanswered bool) {
	m := r.measure(ctx, name)
	killed := false
	strike := func() { m.at, killed = time.Now(), r.Signal(name, syscall.SIGKILL) }
	if unanswered {
		r.Unanswered(ctx, strike)
	} else {
		strike()
	}
	if !killed {
		return // it was just being started again
	}
	r.mu.Lock()
	if name == Postmaster {
		r.report.Struck.PostgresKills++
	} else {
		r.report.Struck.Kills++
	}
	r.mu.Unlock()
	r.mend.Go(func() { r.recovered(ctx, m) })
}

func (r *run) zombie(ctx context.Context, rng *rand.Rand) error {
	owners := Owners()
	name := owners[rng.IntN(len(owners))]
	if rng.IntN(4) < lateOf {
		_ = r.LateClaim(ctx, groupOf(name)) // a Postgres that was killed is struck another time
	} else if err := r.Zombie(ctx, name, rng); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Struck.Zombies++
	r.report.Zombies[name]++
	return nil
}

// LateClaim takes every partition of a group away from its live owner, as a zombie does whose claim
// was under way when it froze: the epoch moves, and nobody works on it.
func (b *Bus) LateClaim(ctx context.Context, group string) error {
	if _, err := b.Pool.Exec(ctx, postgres.In(group, sqlLateClaim)); err != nil {
		return fmt.Errorf("claiming the partitions of %s late: %w", group, err)
	}
	return nil
}

// groupOf is the group, and schema, of an owner.
func groupOf(name string) string { return strings.TrimPrefix(name, "adapter ") }
