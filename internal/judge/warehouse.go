package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"

	"conveyance/internal/sandbox/truth"
)

// warehouse compares the deals' rows. A row that is missing is lost; one that differs holds an
// older state than the vendor, or a wrong one.
func (b Bench) warehouse(ctx context.Context, v *Verdict, tenant string, t truth.Tenant) error {
	rows, err := b.Pool.Query(ctx, sqlWarehouse, tenant)
	if err != nil {
		return err
	}
	defer rows.Close()
	have := map[string]truth.Warehouse{}
	for rows.Next() {
		var key string
		var text []byte
		if err := rows.Scan(&key, &text); err != nil {
			return err
		}
		var w truth.Warehouse
		if err := json.Unmarshal(text, &w); err != nil {
			return err
		}
		have[key] = w
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for key, deal := range t.Deals {
		v.Deals++
		got, ok := have[key]
		if !ok {
			v.Lost = append(v.Lost, "warehouse has no deal "+key)
			continue
		}
		if diff := cmp.Diff(deal.Warehouse, got); diff != "" {
			v.Misordered = append(v.Misordered, fmt.Sprintf("warehouse deal %s differs (-want +got):\n%s", key, diff))
		}
		delete(have, key)
	}
	for key := range have {
		if !strings.HasPrefix(key, tenant+"/") {
			v.Crossed = append(v.Crossed, fmt.Sprintf("warehouse has deal %s as %s's", key, tenant))
			continue
		}
		v.Phantom = append(v.Phantom, "warehouse has a deal that no vendor has: "+key)
	}
	return nil
}
