package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"conveyance/processors/translate"
)

// driftRemedy is what a person does about drift; nothing waits for it.
const driftRemedy = `drift loses nothing: what is unknown flows as UNKNOWN or is left out. Where it means something, teach
producers/<vendor> the word and restart translate; --fail tells a new word or type for a day after its last
sight, and what is seen no more leaves this list after 7 days`

// driftAlarms says whether vendors have written words or types within the last day that nobody knows.
func driftAlarms(all []translate.Drift) bool {
	now := time.Now()
	return slices.ContainsFunc(all, func(d translate.Drift) bool { return d.Alarms(now) })
}

// printDrift prints a line each.
func printDrift(w io.Writer, all []translate.Drift) {
	if len(all) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w)
	for _, d := range all {
		what := d.Kind + " at " + strings.Trim(strconv.Quote(d.Path), `"`) // it is the vendor's, and a terminal obeys
		if d.What != "" {
			what += fmt.Sprintf(" (%q)", d.What)
		}
		_, _ = fmt.Fprintf(w, "drift of %s: %s, %d times, first %s ago, last %s ago\n", d.Vendor, what, d.Count, ago(d.First), ago(d.Last))
	}
	_, _ = fmt.Fprintln(w, driftRemedy)
}
