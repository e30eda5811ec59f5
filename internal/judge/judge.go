// Package judge compares every destination with the sandbox's truth once the bus is at rest, and
// says what was lost, done twice, out of order or left unexplained. It reads the destinations
// themselves (the simulated CRM's records, the warehouse's tables) and the engine's tables, and
// believes no metric.
package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/sandbox/truth"
)

// Verdict is what the judge found; each finding is one sentence that names the thing.
type Verdict struct {
	Lost, Duplicated, Misordered, Unexplained []string
	Deals, People, Envelopes, Effects         int // what was looked at
	Unlinked                                  int // envelopes that belong to no deal, and are listed so
}

// Clean is true where nothing was found.
func (v Verdict) Clean() bool {
	return len(v.Lost)+len(v.Duplicated)+len(v.Misordered)+len(v.Unexplained) == 0
}

// String is the line by which a run is judged.
func (v Verdict) String() string {
	return fmt.Sprintf("lost=%d duplicated=%d misordered=%d unexplained=%d (deals %d, people %d, envelopes %d, unlinked %d, effects %d)",
		len(v.Lost), len(v.Duplicated), len(v.Misordered), len(v.Unexplained), v.Deals, v.People, v.Envelopes, v.Unlinked, v.Effects)
}

// Bench is what the judge looks at.
type Bench struct {
	Pool    *pgxpool.Pool
	Sandbox string            // URL
	Ends    map[string]int64  // end of the log by "topic/partition", topics without prefix
	Groups  map[string]string // schema by group
}

// Judge looks at everything once. The bus must be at rest; where it is not, that is Unexplained.
func Judge(ctx context.Context, b Bench) (Verdict, error) {
	var v Verdict
	var want truth.Truth
	if err := b.get(ctx, "/_control/truth", &want); err != nil {
		return v, err
	}
	for tenant, t := range want.Tenants {
		if err := b.warehouse(ctx, &v, tenant, t); err != nil {
			return v, fmt.Errorf("judging the warehouse of %s: %w", tenant, err)
		}
		if err := b.crm(ctx, &v, tenant, t); err != nil {
			return v, fmt.Errorf("judging the CRM of %s: %w", tenant, err)
		}
		if err := b.envelopes(ctx, &v, t); err != nil {
			return v, fmt.Errorf("judging the envelopes of %s: %w", tenant, err)
		}
	}
	if err := b.engine(ctx, &v); err != nil {
		return v, fmt.Errorf("judging the engine: %w", err)
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
