package crashpoints

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"conveyance/internal/chaos"
	"conveyance/internal/judge"
)

const (
	// look is how often a round looks whether points were reached, and the judge whether all is at rest.
	look = 250 * time.Millisecond
	// moreAfter is when the story goes on for points that were not reached.
	moreAfter = 2 * time.Second
	// reachWithin is when a round gives up on a point. A process that was started again, and again, comes
	// back within seconds.
	reachWithin = time.Minute
	// patience is how long the bus may show no progress before it is judged as it is.
	patience = 60 * time.Second
	// delayed is how long a delay takes.
	delayed = 5 * time.Second
	// takeover is how long a stand-in may take to claim: it waits for a frozen owner's transaction.
	takeover = 10 * time.Second
	// beside is how long a stand-in works alone, and then beside the owner that wakes.
	beside = 500 * time.Millisecond
)

// Lane runs runs on one bus, whose binary is built with the tag faults and whose environment is Env.
type Lane struct {
	Bus  *chaos.Bus
	Dir  string                        // where plan and marks lie
	Seed int                           // of the story
	Log  func(format string, a ...any) // a line a round

	rand    *rand.Rand
	deals   int
	highest map[string]int64 // stored offsets
	fell    []string
}

// Env is what tells processes where the plan lies.
func Env(dir string) []string {
	return []string{"CONVEYANCE_FAULTS=" + dir, "CONVEYANCE_POLLING_RULE=500ms"}
}

// Play plays all rounds, and ends early only where the bus cannot be used any more.
func (l *Lane) Play(ctx context.Context, runs []Run) ([]Outcome, error) {
	l.rand, l.highest = random(2, l.Seed), map[string]int64{}
	var all []Outcome
	for n, round := range rounds(runs) {
		began := time.Now()
		out, err := l.round(ctx, round)
		all = append(all, out...)
		if err != nil {
			return all, fmt.Errorf("playing round %d: %w", n, err)
		}
		l.Log("round %d: %s", n, line(out, time.Since(began)))
		if out[0].Found != "" {
			return all, nil // whatever comes later would be found guilty of it
		}
	}
	return all, nil
}

func line(out []Outcome, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%.1fs", took.Seconds())
	for _, o := range out {
		mark := ""
		if !o.Reached {
			mark = " NOT REACHED"
		}
		fmt.Fprintf(&b, ", %s@%s#%d %.1fs%s", o.ID, o.Process, o.Nth, o.Recovered.Seconds(), mark)
	}
	if out[0].Found != "" {
		fmt.Fprintf(&b, "\n%s", out[0].Found)
	}
	return b.String()
}

// round arms its runs together, tells the story until all are reached and their faults are over, and
// waits for rest.
func (l *Lane) round(ctx context.Context, runs []Run) ([]Outcome, error) {
	out := make([]Outcome, len(runs))
	struck := make([]time.Time, len(runs))
	for i, r := range runs {
		out[i].Run = r
	}
	if err := l.arm(runs); err != nil {
		return out, err
	}
	defer func() { _ = l.arm(nil) }()
	var faults sync.WaitGroup
	defer faults.Wait()
	began, told := time.Now(), time.Time{}
	left := len(runs)
	tale := l.tale(runs)
	for left > 0 && time.Since(began) < reachWithin && ctx.Err() == nil {
		if time.Since(told) > moreAfter {
			if err := tale.next(ctx); err != nil {
				return out, err
			}
			told = time.Now()
		}
		l.mend(ctx)
		chaos.Pause(ctx, look)
		for i, r := range runs {
			pid, ok := l.reached(r)
			if !ok || out[i].Reached {
				continue
			}
			out[i].Reached, struck[i] = true, time.Now()
			left--
			faults.Go(func() { l.suffer(ctx, r, pid) })
		}
	}
	faults.Wait()
	if err := l.arm(nil); err != nil {
		return out, err
	}
	if err := tale.end(ctx); err != nil {
		return out, err
	}
	v, err := l.settle(ctx)
	v.Misordered = append(v.Misordered, l.fell...)
	for i := range out {
		if out[i].Reached {
			out[i].Recovered = time.Since(struck[i])
		}
		if err != nil || !v.Clean() {
			out[i].Found = fmt.Sprintf("%v (%v)\n%s", v, err, chaos.Findings(v))
		}
	}
	return out, nil
}

// arm writes the plan that processes read at each passage.
func (l *Lane) arm(runs []Run) error {
	var b strings.Builder
	for _, r := range runs {
		fmt.Fprintf(&b, "%s %s %s %s %d %d\n", r.ID, r.Process, r.Point, r.Fault, r.Nth, r.Times)
	}
	next := filepath.Join(l.Dir, "plan.next")
	if err := os.WriteFile(next, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	return os.Rename(next, filepath.Join(l.Dir, "plan"))
}

// reached says which process a run has struck.
func (l *Lane) reached(r Run) (pid int, ok bool) {
	text, err := os.ReadFile(filepath.Join(l.Dir, r.ID+".reached"))
	if err != nil {
		return 0, false
	}
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return 0, false
	}
	pid, err = strconv.Atoi(words[len(words)-1])
	return pid, err == nil && pid > 0
}

// suffer waits until a run's fault is over. A lease of a dead or frozen process is taken as run out:
// nobody waits 90 s for it here.
func (l *Lane) suffer(ctx context.Context, r Run, pid int) {
	switch r.Fault {
	case Kill:
		if r.Process == "fetch" {
			l.expire(ctx)
		}
	case Delay:
		chaos.Pause(ctx, delayed)
	case Stop:
		l.replace(ctx, r, pid)
	}
}

// replace lets another process take the place of one that stands still, and then wakes that one. The
// door has no stand-in: it just sleeps.
func (l *Lane) replace(ctx context.Context, r Run, pid int) {
	wake := func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	defer wake()
	if r.Process == "ingest" {
		chaos.Pause(ctx, delayed/2)
		return
	}
	if r.Process == "fetch" {
		l.expire(ctx)
	}
	group := r.Process[strings.LastIndexByte(r.Process, '-')+1:]
	before, err := l.epochs(ctx, group)
	if err != nil {
		l.Log("%v", err)
		return
	}
	stand, err := l.Bus.StandIn(ctx, strings.Replace(r.Process, "-", " ", 1))
	if err != nil {
		l.Log("%v", err)
		return
	}
	defer func() {
		_ = stand.Process.Kill() // where the woken one did not fence it
		_ = stand.Wait()
		if r.Process == "fetch" {
			l.expire(ctx)
		}
	}()
	for began := time.Now(); time.Since(began) < takeover && ctx.Err() == nil; {
		if now, err := l.epochs(ctx, group); err == nil && now > before {
			break
		}
		chaos.Pause(ctx, look)
	}
	chaos.Pause(ctx, beside)
	wake()
	chaos.Pause(ctx, beside)
}

// settle waits until the judge finds nothing, or nothing has changed for patience.
func (l *Lane) settle(ctx context.Context) (v judge.Verdict, err error) {
	seen, since := "", time.Now()
	for time.Since(since) < patience && ctx.Err() == nil {
		l.watch(ctx)
		if v, err = l.Bus.Judge(ctx); err == nil && v.Clean() {
			return v, nil
		}
		l.mend(ctx)
		if now := fmt.Sprint(v, err); now != seen {
			seen, since = now, time.Now()
		}
		chaos.Pause(ctx, look)
	}
	return v, errors.Join(err, ctx.Err())
}

// watch notes stored offsets that fell: an owner that was fenced has written over its successor.
func (l *Lane) watch(ctx context.Context) {
	for _, group := range chaos.Groups() {
		_ = l.Bus.Offsets(ctx, group, func(place string, next int64) { // a Postgres that is busy is looked at again
			place = group + " at " + place
			if next < l.highest[place] {
				l.fell = append(l.fell, fmt.Sprintf("%s fell from %d to %d", place, l.highest[place], next))
			}
			l.highest[place] = next
		})
	}
}
