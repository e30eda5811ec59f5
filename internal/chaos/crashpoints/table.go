package crashpoints

import (
	"fmt"
	"strings"
	"time"
)

// Table is a line per point: how many runs, how many reached it, and the longest recovery of each
// fault. It ends with the line by which a lane is judged.
func Table(all []Outcome) string {
	type row struct {
		runs, reached int
		worst         map[string]time.Duration
	}
	rows := map[string]*row{}
	found := 0
	for _, o := range all {
		r := rows[o.Point]
		if r == nil {
			r = &row{worst: map[string]time.Duration{}}
			rows[o.Point] = r
		}
		r.runs++
		if o.Reached {
			r.reached++
			r.worst[o.Fault] = max(r.worst[o.Fault], o.Recovered)
		}
		if o.Found != "" {
			found++
		}
	}
	var b strings.Builder
	b.WriteString("| point | runs | reached | kill | stop | error | delay |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	runs, reached := 0, 0
	for _, s := range spots() {
		r := rows[s.point]
		if r == nil {
			continue
		}
		runs, reached = runs+r.runs, reached+r.reached
		fmt.Fprintf(&b, "| %s | %d | %d |", s.point, r.runs, r.reached)
		for _, f := range Faults() {
			fmt.Fprintf(&b, " %.1f s |", r.worst[f].Seconds())
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "points=%d runs=%d reached=%d found=%d\n", len(rows), runs, reached, found)
	return b.String()
}

// Void are the points that were reached less than least times: what they were to try was not tried.
func Void(all []Outcome, least int) []string {
	reached := map[string]int{}
	for _, o := range all {
		if o.Reached {
			reached[o.Point]++
		}
	}
	var void []string
	for _, s := range spots() {
		if reached[s.point] < least {
			void = append(void, fmt.Sprintf("%s %d of %d", s.point, reached[s.point], least))
		}
	}
	return void
}
