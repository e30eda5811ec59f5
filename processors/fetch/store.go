package fetch

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
)

// storeTimeout is the longest that a statement may keep its caller waiting, a connection included.
const storeTimeout = 2 * postgres.StatementTimeout

// store is the stage's tables. Its methods are safe for concurrent use.
type store struct {
	pool   *pgxpool.Pool
	schema string
}

// account names one account in rows.
type account struct{ tenant, vendor, name string }

func (a account) key() string {
	return tenant.Account{Tenant: a.tenant, Vendor: a.vendor, Name: a.name}.Key()
}

func accountOf(r event.Resource) account { return account{r.Tenant, r.Vendor, r.Account} }

// lane orders work: live goes first.
type lane int16

const (
	live     lane = 1
	backfill lane = 2
)

func (l lane) String() string {
	if l == backfill {
		return "backfill"
	}
	return "live"
}

func laneNamed(name string) (lane, error) {
	switch name {
	case "live":
		return live, nil
	case "backfill":
		return backfill, nil
	}
	return 0, fmt.Errorf("lane %q: use live or backfill", name)
}

// hint says that a record may have changed.
type hint struct {
	resource event.Resource
	lane     lane
	wanted   int64 // the version that is known to exist; 0 = unknown
	by       string
}

// mark makes resources dirty, in the caller's transaction or in one of its own. protocol.md 19: a hint
// joins a read that has not started; one in flight it leaves dirty, by the count of hints.
func (s store) mark(ctx context.Context, db execer, hints []hint, now time.Time) error {
	if len(hints) == 0 {
		return nil
	}
	hints = distinct(hints)
	c := columnsOf(len(hints))
	for _, h := range hints {
		c.add(h.resource)
		c.lanes = append(c.lanes, int16(h.lane))
		c.numbers = append(c.numbers, h.wanted)
		c.texts = append(c.texts, h.by)
	}
	_, err := db.Exec(ctx, postgres.In(s.schema, sqlMark),
		c.keys, c.tenants, c.vendors, c.accounts, c.kinds, c.ids, c.lanes, c.numbers, c.texts, now, causeAgain)
	if err != nil {
		return fmt.Errorf("marking %d resources: %w", len(hints), postgres.Classify(err))
	}
	return nil
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// distinct leaves one hint per resource: the livelier lane and the higher version.
func distinct(hints []hint) []hint {
	at := make(map[event.Resource]int, len(hints))
	out := make([]hint, 0, len(hints))
	for _, h := range hints {
		i, twice := at[h.resource]
		if !twice {
			at[h.resource] = len(out)
			out = append(out, h)
			continue
		}
		out[i].lane = min(out[i].lane, h.lane)
		out[i].wanted = max(out[i].wanted, h.wanted)
	}
	return out
}

// columns are rows turned on their side, for unnest.
type columns struct {
	keys, tenants, vendors, accounts, kinds, ids, texts []string
	lanes                                               []int16
	numbers                                             []int64
}

func columnsOf(n int) *columns { return &columns{keys: make([]string, 0, n)} }

func (c *columns) add(r event.Resource) {
	c.keys = append(c.keys, r.Key())
	c.tenants = append(c.tenants, r.Tenant)
	c.vendors = append(c.vendors, r.Vendor)
	c.accounts = append(c.accounts, r.Account)
	c.kinds = append(c.kinds, r.Kind)
	c.ids = append(c.ids, r.ID)
}
