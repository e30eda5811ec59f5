package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"conveyance/internal/judge"
)

// Report is what a run did and found.
type Report struct {
	Seed     int64
	Events   int64 // records in the log, of all topics
	Struck   Struck
	Zombies  map[string]int // rounds by the process that came back
	Recovery map[string][]time.Duration
	Audits   int // looks at the books while the bus ran
	Took     time.Duration
	Drained  time.Duration // from the last fault until all was at rest and judged
	Verdict  judge.Verdict // without what Classes allows
	Classes  Classes

	kills map[string]int // of each process
	more  []string       // findings of the lab's own
}

// Struck are the faults that struck.
type Struck struct{ Kills, Zombies, PostgresKills int }

// Classes say what zombies did, by the class of the destination. No destination of this build is of
// class B, an API that remembers a key.
type Classes struct {
	A, C, D int // done twice: rows of our own, API that can be read back, API that cannot
	Flagged int // effects that the bus itself flagged
	Asked   int // effects of class D whose outcome a person was asked for
}

func newReport(p Plan) Report {
	return Report{
		Seed: p.Seed, Zombies: map[string]int{}, Recovery: map[string][]time.Duration{}, kills: map[string]int{},
	}
}

// verdict sorts what was done twice by class, and excuses what class C may: one in ten rounds, each
// flagged.
func (r *Report) verdict(v judge.Verdict) {
	v.Unexplained = append(v.Unexplained, r.more...)
	var twice []string
	for _, d := range v.Duplicated {
		switch {
		case !strings.HasPrefix(d, "CRM "):
			r.Classes.A++
		case strings.Contains(d, " notes of "):
			r.Classes.D++
		default:
			r.Classes.C++
			continue
		}
		twice = append(twice, d)
	}
	if c := r.Classes.C; c > 0 && c*10 <= r.Struck.Zombies && c <= r.Classes.Flagged {
		v.Duplicated = twice
	}
	r.Verdict = v
}

func (r *Report) recovery(name string, d time.Duration) {
	sort := name
	switch {
	case slices.Contains(Owners(), name):
		sort = "owner"
	case name == Postmaster:
		sort = "postgres"
	}
	r.Recovery[sort] = append(r.Recovery[sort], d)
}

// Spread are quantiles of recovery times.
type Spread struct {
	N             int
	P50, P99, Max time.Duration
}

// Spreads are the recovery times by sort: owner (a process that owns partitions), ingest, broker,
// registry, postgres.
func (r Report) Spreads() map[string]Spread {
	out := map[string]Spread{}
	for sort, all := range r.Recovery {
		all = slices.Sorted(slices.Values(all))
		at := func(q float64) time.Duration { return all[min(len(all)-1, int(q*float64(len(all))))] }
		out[sort] = Spread{N: len(all), P50: at(0.5), P99: at(0.99), Max: all[len(all)-1]}
	}
	return out
}

// Rate is the events a second, from the start of up to rest.
func (r Report) Rate() float64 { return float64(r.Events) / max(1, r.Took.Seconds()) }

// Clean is true where the run found nothing.
func (r Report) Clean() bool { return r.Verdict.Clean() }

// Lines tell the run to a person: what was done, what recovered how fast, what zombies did.
func (r Report) Lines() string {
	var b strings.Builder
	fmt.Fprintf(&b, "events %d in %s (%.0f/s), books looked at %d times meanwhile; at rest and judged %s after the last fault\n",
		r.Events, r.Took.Round(time.Second), r.Rate(), r.Audits, r.Drained.Round(time.Second))
	spreads := r.Spreads()
	for _, sort := range slices.Sorted(maps.Keys(spreads)) {
		s := spreads[sort]
		fmt.Fprintf(&b, "recovery %-9s n %-5d p50 %-8s p99 %-8s max %s\n", sort, s.N,
			s.P50.Round(time.Millisecond), s.P99.Round(time.Millisecond), s.Max.Round(time.Millisecond))
	}
	if r.Struck.Zombies > 0 {
		c := r.Classes
		fmt.Fprintf(&b, "zombies %v: class A %d twice, class B no destination, class C %d twice (at most %d; %d flagged), "+
			"class D %d sent again blind (%d asked of a person)\n",
			r.Zombies, c.A, c.C, r.Struck.Zombies/10, c.Flagged, c.D, c.Asked)
	}
	return b.String()
}

// String is the line by which a run is judged.
func (r Report) String() string {
	line := strings.TrimSuffix(r.Verdict.String(), ")")
	return fmt.Sprintf("%s; kills %d, zombies %d, postgres-kills %d, events %d, seed %d)",
		line, r.Struck.Kills, r.Struck.Zombies, r.Struck.PostgresKills, r.Events, r.Seed)
}
