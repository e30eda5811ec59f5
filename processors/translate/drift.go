package translate

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"conveyance/internal/postgres"
	"conveyance/producers"
)

const (
	// driftsMax is how many different drifts one process tells apart: paths and words come from vendors,
	// and a hostile or broken one must fill neither the metrics nor the table. The rest is "other".
	driftsMax = 300
	// wordBytesMax bounds a word, which ends in an index and as a label. Statuses are shorter.
	wordBytesMax = 80

	// DriftListed is how long a drift is listed after its last sight: a person who comes once a week sees it.
	DriftListed = 7 * 24 * time.Hour
	// DriftAlarms is how long a drift that alarms does so after its last sight: until the next day's look.
	DriftAlarms = 24 * time.Hour
)

// Drift is something in a vendor's records that its contract does not know.
type Drift struct {
	Vendor string    `json:"vendor"`
	Path   string    `json:"path"`
	Kind   string    `json:"kind"` // producers' Drift constants
	What   string    `json:"what"`
	Count  int64     `json:"count"` // in accepted snapshots
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// Alarms says whether a person should look at d: a word that a closed list lacks, or a value of another
// type, seen within DriftAlarms. A new field takes nothing away, and what somebody mistyped into a free
// text is no change of the vendor's: both are only listed.
func (d Drift) Alarms(now time.Time) bool {
	changed := d.Kind == producers.DriftRetyped || d.Kind == producers.DriftUnknownValue && d.What != ""
	return changed && now.Sub(d.Last) < DriftAlarms
}

// Drifts returns what was seen within DriftListed, newest first. It only reads.
func Drifts(ctx context.Context, pool *pgxpool.Pool, schema string) ([]Drift, error) {
	rows, err := pool.Query(ctx, postgres.In(schema, sqlDrifts), DriftListed)
	if err != nil {
		return nil, fmt.Errorf("reading drifts: %w", postgres.Classify(err))
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (d Drift, err error) {
		err = r.Scan(&d.Vendor, &d.Path, &d.Kind, &d.What, &d.Count, &d.First, &d.Last)
		d.First, d.Last = d.First.UTC(), d.Last.UTC()
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading drifts: %w", postgres.Classify(err))
	}
	return all, nil
}

// drifted is a drift of a vendor.
type drifted struct {
	vendor string
	producers.Drift
}

// driftOf is d fit for a label and an index, whatever the vendor wrote.
func driftOf(vendor string, d producers.Drift) drifted {
	d.Path, d.What = word(d.Path), word(d.What)
	return drifted{vendor, d}
}

func word(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), wordBytesMax)], "\x00", ""), "")
}

// drifts is what a process has seen of drift. It is safe for concurrent use.
type drifts struct {
	log  *zap.Logger
	mu   sync.Mutex
	seen map[drifted]bool
}

// bound logs what is new, and makes one of what is past driftsMax. Its own result it returns as it is.
func (d *drifts) bound(found map[drifted]int) map[drifted]int {
	if len(found) == 0 {
		return found
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[drifted]int, len(found))
	for one, n := range found {
		if !d.seen[one] && len(d.seen) >= driftsMax {
			one.Path, one.What = "other", ""
		}
		if !d.seen[one] {
			d.seen[one] = true
			d.log.Warn("drift.seen", zap.String("vendor", one.vendor), zap.String("path", one.Path),
				zap.String("kind", one.Kind), zap.String("what", one.What))
		}
		out[one] += n
	}
	return out
}

// drift counts drifts up, in one statement.
func (t tables) drift(ctx context.Context, tx pgx.Tx, found map[drifted]int) error {
	var vendors, paths, kinds, whats []string
	var counts []int64
	for d, n := range found {
		vendors, paths, kinds = append(vendors, d.vendor), append(paths, d.Path), append(kinds, d.Kind)
		whats, counts = append(whats, d.What), append(counts, int64(n))
	}
	if _, err := tx.Exec(ctx, postgres.In(t.schema, sqlDrift), vendors, paths, kinds, whats, counts); err != nil {
		return fmt.Errorf("counting %d drifts: %w", len(found), err)
	}
	return nil
}
