// Package crashpoints tries every named crash point of the product: a run arms one point in one
// process for one fault, tells a small story until the point is reached, and has everything judged
// once the bus is at rest. Runs of different processes share a round on a running up, so that faults
// also meet each other.
package crashpoints

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

// The faults that a passage may meet.
const (
	Kill  = "kill"  // SIGKILL of the process itself
	Stop  = "stop"  // SIGSTOP, past the session: another process takes its place meanwhile
	Error = "error" // the place's own error
	Delay = "delay" // of 5 s
)

// Faults are all of them.
func Faults() []string { return []string{Kill, Stop, Error, Delay} }

// spot is where a point is reached, and what makes a process reach it.
type spot struct {
	point     string
	processes []string
	deep      int // passages that a small story has for sure
	urge      urge
}

// urge is what makes a process pass a point that work alone does not lead to.
type urge int

const (
	work    urge = iota // the story does
	restart             // a polite end, after which the process is started again
	unseat              // either that, or the loss of a partition's token to somebody else
)

func spots() []spot {
	// What several processes pass is tried most where little else is, so that rounds are full.
	door, fetch, keyed := []string{"ingest"}, []string{"fetch"}, []string{"adapter-followupboss"}
	quiet := []string{"translate", "adapter-warehouse", "adapter-timeline"}
	parking := slices.Concat(quiet, quiet, quiet, keyed)
	owners := slices.Concat(parking, fetch)
	stages := slices.Concat(owners, door)
	callers := slices.Concat(fetch, keyed)
	makers := []string{"translate", "translate", "fetch"}
	return []spot{
		{"start", stages, 1, restart},
		{"ingest.read.before", door, 2, work},
		{"ingest.verify.before", door, 2, work},
		{"ingest.produce.before", door, 2, work},
		{"ingest.ack.before", door, 2, work},
		{"ingest.answer.before", door, 2, work},
		{"ingest.answer.after", door, 2, work},
		{"poll.before", fetch, 3, work},
		{"poll.published", fetch, 2, work},
		{"poll.after", fetch, 3, work},
		{"fetch.before", fetch, 1, work},
		{"fetch.after", fetch, 1, work},
		{"fetch.published", fetch, 1, work},
		{"limiter.before", callers, 4, work},
		{"limiter.after", callers, 4, work},
		{"session.open", owners, 1, unseat},
		{"assign.before", owners, 1, unseat},
		{"assign.after", owners, 1, unseat},
		{"revoke.before", owners, 3, unseat},
		{"revoke.after", owners, 3, unseat},
		{"mirror.before", owners, 1, work},
		{"mirror.after", owners, 1, work},
		{"decode", owners, 2, work},
		{"produce.before", makers, 2, work},
		{"produce.after", makers, 2, work},
		{"call.before", keyed, 5, work},
		{"call.after", keyed, 5, work},
		{"claim.before", keyed, 4, work},
		{"claim.after", keyed, 4, work},
		{"result.before", keyed, 4, work},
		{"result.after", keyed, 4, work},
		{"offset.before", owners, 2, work},
		{"offset.after", owners, 2, work},
		{"park.before", parking, 1, work},
		{"park.after", parking, 1, work},
		{"release.before", parking, 1, work},
		{"release.after", parking, 1, work},
		{"commit.before", owners, 4, work},
		{"commit.after", owners, 4, work},
	}
}

// Run is one point, one fault, one seed. The seed decides the process, the passage that meets the
// fault, how many errors follow each other, and what urges the process there.
type Run struct {
	ID, Point, Fault string
	Seed             int
	Process          string // as plans name it: adapter-warehouse
	Nth, Times       int
	urge             urge
}

// timesMax is how many errors may follow each other: one more than a batch is tried whole.
const timesMax = 4

func newRun(s spot, fault string, seed int) Run {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, s.point, fault) // never fails
	r := random(h.Sum32(), seed)
	run := Run{
		ID: fmt.Sprintf("%s.%s.%d", s.point, fault, seed), Point: s.point, Fault: fault, Seed: seed,
		Process: s.processes[(int(h.Sum32())+seed)%len(s.processes)], Nth: 1 + r.IntN(s.deep), Times: 1 + r.IntN(timesMax), urge: s.urge,
	}
	if run.urge == unseat && r.IntN(2) == 0 {
		run.urge = restart
	}
	return run
}

// random makes the same run of the same seed.
func random(of uint32, seed int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(of), uint64(seed))) //nolint:gosec // G404, G115: a seed, no secret
}

// All is every point, under every fault, with each of so many seeds, in an order that mixes them.
func All(seeds int) []Run {
	var all []Run
	for seed := range seeds {
		for _, s := range spots() {
			for _, fault := range Faults() {
				all = append(all, newRun(s, fault, seed))
			}
		}
	}
	mix := random(1, seeds)
	mix.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// Sample is n runs with every point in turn, and every fault in turn.
func Sample(n, seed int) []Run {
	all, faults := spots(), Faults()
	runs := make([]Run, n)
	for i := range runs {
		at, lap := i%len(all), i/len(all)
		runs[i] = newRun(all[at], faults[(at+lap+seed)%len(faults)], seed+lap)
	}
	return runs
}

// rounds shares runs out: in a round each process has one at most.
func rounds(runs []Run) [][]Run {
	waiting := map[string][]Run{}
	var processes []string
	for _, r := range runs {
		if waiting[r.Process] == nil {
			processes = append(processes, r.Process)
		}
		waiting[r.Process] = append(waiting[r.Process], r)
	}
	slices.Sort(processes)
	var all [][]Run
	for {
		var round []Run
		for _, p := range processes {
			if len(waiting[p]) > 0 {
				round = append(round, waiting[p][0])
				waiting[p] = waiting[p][1:]
			}
		}
		if len(round) == 0 {
			return all
		}
		all = append(all, round)
	}
}

// Outcome is what became of a run.
type Outcome struct {
	Run
	Reached   bool
	Recovered time.Duration // from the fault until nothing was left to find, of its whole round
	Found     string        // what the judge found; empty = nothing
}
