package chaos

import (
	"context"
	"slices"
	"strings"
)

// auditEvery portions the books are looked at while the bus runs.
const auditEvery = 2

// conserved looks in the middle of a run whether the groups that record every event have recorded all
// that they are past. What one look finds may have come to its end while it looked; what a second one
// finds again has not. A part that is away just now is no finding.
func (r *run) conserved(ctx context.Context) {
	first := r.unrecorded(ctx)
	if len(first) == 0 {
		return
	}
	again := r.unrecorded(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range first {
		if slices.Contains(again, line) {
			r.report.more = append(r.report.more, "while it ran: "+line)
		}
	}
}

func (r *run) unrecorded(ctx context.Context) (lines []string) {
	v, err := r.Audit(ctx, nil, false)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		return nil
	}
	r.report.Audits++
	for _, line := range v.Lost {
		if strings.Contains(line, "has not recorded event") { // the rest is not at rest
			lines = append(lines, line)
		}
	}
	return lines
}
