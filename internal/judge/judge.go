// Package judge says of a run what was lost, done twice, out of order, made up, done for the wrong
// tenant or left unexplained. It compares every destination with the sandbox's truth once the bus is
// at rest, and follows the history that led there: what was delivered, what the log holds, what the
// ledgers recorded, what the vendors were asked, and what a Watcher saw while it ran. It reads the
// destinations themselves (the simulated CRM's records, the warehouse's tables) and the engine's
// tables, shares no code with the product, and believes no metric.
package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/sandbox/truth"
)

// Verdict is what the judge found; each finding is one sentence that names the thing.
type Verdict struct {
	Lost        []string // accepted, and neither applied nor superseded nor listed
	Duplicated  []string // in effect more than once
	Misordered  []string // an older state over a newer one, or effects of a key out of order
	Unexplained []string // neither at its end nor listed as waiting
	Phantom     []string // in effect, and nobody caused it, or what caused it was refused
	Crossed     []string // of one tenant, done with or under another's account
	Overrun     []string // refused by a vendor for its quota

	Deals, People, Envelopes, Effects int // what was looked at
	Unlinked                          int // envelopes that belong to no deal, and are listed so

	// Where the records of the log have come to in the groups that record every event.
	Received, Applied, Copies, Waiting, Dropped, InFlight int
}

// Finding is a sort of findings.
type Finding struct {
	Name string
	All  []string
}

// Findings are all sorts, in the order of String.
func (v Verdict) Findings() []Finding {
	return []Finding{
		{"lost", v.Lost},
		{"duplicated", v.Duplicated},
		{"misordered", v.Misordered},
		{"unexplained", v.Unexplained},
		{"phantom", v.Phantom},
		{"crossed", v.Crossed},
		{"overrun", v.Overrun},
	}
}

// Clean is true where nothing was found.
func (v Verdict) Clean() bool {
	for _, f := range v.Findings() {
		if len(f.All) > 0 {
			return false
		}
	}
	return true
}

// String is the line by which a run is judged.
func (v Verdict) String() string {
	var line strings.Builder
	for _, f := range v.Findings() {
		fmt.Fprintf(&line, "%s=%d ", f.Name, len(f.All))
	}
	fmt.Fprintf(&line, "(deals %d, people %d, envelopes %d, unlinked %d, effects %d", v.Deals, v.People, v.Envelopes, v.Unlinked, v.Effects)
	if v.Received+v.InFlight > 0 {
		fmt.Fprintf(&line, "; received %d = applied %d + copies %d + waiting %d + dropped %d",
			v.Received, v.Applied, v.Copies, v.Waiting, v.Dropped)
	}
	line.WriteByte(')')
	return line.String()
}

// Bench is what the judge looks at.
type Bench struct {
	Pool    *pgxpool.Pool
	Sandbox string            // URL
	Ends    map[string]int64  // end of the log by "topic/partition", topics without prefix
	Groups  map[string]string // schema by group

	// Log is all that the topics hold. Where it is nil only what stands is judged, not how it came.
	Log iter.Seq2[Entry, error]
	// Sent are the deliveries that the lab made itself, beside those of the simulated vendors.
	Sent []Sent
	// Since is when the simulated vendors were started: what they did before is not remembered.
	Since time.Time
	// Quota says that no stage was frozen between its token and its call, so that no vendor may have
	// refused a call for its quota.
	Quota bool
}

// Judge looks at everything once. The bus must be at rest; where it is not, that is Unexplained.
func Judge(ctx context.Context, b Bench) (Verdict, error) {
	var v Verdict
	var want truth.Truth
	if err := b.get(ctx, "/_control/truth", &want); err != nil {
		return v, err
	}
	refs, err := b.references(ctx, want)
	if err != nil {
		return v, fmt.Errorf("judging the CRM: %w", err)
	}
	for tenant, t := range want.Tenants {
		if err := b.warehouse(ctx, &v, tenant, t); err != nil {
			return v, fmt.Errorf("judging the warehouse of %s: %w", tenant, err)
		}
		if err := b.crm(ctx, &v, tenant, want, refs); err != nil {
			return v, fmt.Errorf("judging the CRM of %s: %w", tenant, err)
		}
		if err := b.envelopes(ctx, &v, t); err != nil {
			return v, fmt.Errorf("judging the envelopes of %s: %w", tenant, err)
		}
	}
	if err := b.engine(ctx, &v); err != nil {
		return v, fmt.Errorf("judging the engine: %w", err)
	}
	if err := b.watched(ctx, &v); err != nil {
		return v, fmt.Errorf("reading what was watched: %w", err)
	}
	if b.Log == nil {
		return v, nil
	}
	if err := b.history(ctx, &v, want); err != nil {
		return v, fmt.Errorf("judging the history: %w", err)
	}
	return v, nil
}

func (b Bench) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.Sandbox+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the sandbox for %s: %w", path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("asking the sandbox for %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the sandbox for %s: %s: %s", path, resp.Status, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading the sandbox's %s: %w", path, err)
	}
	return nil
}

// records are all records of a kind that the CRM holds for a tenant.
func (b Bench) records(ctx context.Context, kind, tenant string, into any) error {
	return b.get(ctx, "/_control/followupboss/"+kind+"?tenant="+url.QueryEscape(tenant), into)
}
