package link

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

// querier is a pool, or a transaction of it.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Read returns what is decided about records, by their keys; those without a decision are not there.
// A person decides at any time, so that nobody remembers it over a batch.
func (l *Linker) Read(ctx context.Context, resources []string) (map[string]Links, error) {
	return l.read(ctx, l.pool, resources)
}

func (l *Linker) read(ctx context.Context, q querier, resources []string) (map[string]Links, error) {
	rows, err := q.Query(ctx, postgres.In(l.schema, sqlLinks), resources)
	if err != nil {
		return nil, fmt.Errorf("reading the links of %d records: %w", len(resources), postgres.Classify(err))
	}
	out := map[string]Links{}
	var d Decision
	var acted int64
	var deal *string
	var evidence string
	_, err = pgx.ForEachRow(rows, []any{
		&d.Resource, &acted, &d.Seq, &deal, &d.Rung, &evidence, &d.Actor, &d.Reason, &d.At,
	}, func() error {
		one := d
		one.Deal, one.Evidence, one.At = orEmpty(deal), strings.Fields(evidence), d.At.UTC()
		d.Actor, deal = nil, nil // the next scan must not write into them
		all := out[one.Resource]
		all.Acted, all.Decisions = acted, append(all.Decisions, one)
		out[one.Resource] = all
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the links of %d records: %w", len(resources), postgres.Classify(err))
	}
	return out, nil
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Decide climbs the ladder for records about which nothing was decided, and returns the links of those
// that have a decision then. What it decides is committed when it returns, and was not decided anew
// where somebody was faster: whoever asks later is told the same (protocol.md 8: nothing is produced
// before). It is called before a batch's transaction, never in it.
func (l *Linker) Decide(ctx context.Context, records []Record) (map[string]Links, error) {
	found, err := l.find(ctx, l.pool, records)
	if err != nil {
		return nil, err
	}
	var rows []written
	var keys []string
	for i, r := range records {
		if ruling, ok := Climb(r.Claims, found[i]); ok {
			rows = append(rows, written{Decision{
				Resource: r.Resource, Seq: 1, Deal: ruling.Deal, Rung: ruling.Rung, Evidence: text(ruling.Evidence),
			}, r.Tenant})
			keys = append(keys, r.Resource)
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	if err := postgres.Tx(ctx, l.pool, func(tx pgx.Tx) error {
		_, err := l.decide(ctx, tx, rows)
		return err
	}); err != nil {
		return nil, fmt.Errorf("deciding the links of %d records: %w", len(rows), postgres.Classify(err))
	}
	return l.Read(ctx, keys)
}

// written is a decision with the tenant that its row names.
type written struct {
	Decision
	tenant string
}

// decide writes decisions that nobody wrote before, and returns how many.
func (l *Linker) decide(ctx context.Context, tx pgx.Tx, rows []written) (int64, error) {
	tag, err := tx.Exec(ctx, postgres.In(l.schema, sqlDecide),
		col(rows, func(w written) string { return w.Resource }),
		col(rows, func(w written) int64 { return w.Seq }),
		col(rows, func(w written) string { return w.tenant }),
		col(rows, func(w written) string { return w.Deal }),
		col(rows, func(w written) string { return string(w.Rung) }),
		col(rows, func(w written) string { return strings.Join(w.Evidence, " ") }),
		col(rows, func(w written) *string { return w.Actor }),
		col(rows, func(w written) string { return w.Reason }))
	return tag.RowsAffected(), err
}

func col[T, V any](rows []T, of func(T) V) []V {
	out := make([]V, len(rows))
	for i, r := range rows {
		out[i] = of(r)
	}
	return out
}

func text(claims []Claim) []string { return col(claims, Claim.String) }

// find returns for each record the deals of its tenant that share a claim with it.
func (l *Linker) find(ctx context.Context, q querier, records []Record) ([]Found, error) {
	type made struct {
		tenant string
		Claim
	}
	var tenants, hashes []string
	for _, r := range records {
		for _, c := range r.Claims {
			tenants, hashes = append(tenants, r.Tenant), append(hashes, c.Hash)
		}
	}
	makers := map[made][]string{} // deals by what they claim
	deals := map[string][]Claim{}
	if len(hashes) > 0 {
		rows, err := q.Query(ctx, postgres.In(l.schema, sqlFind), tenants, hashes, commonMax+1, claimsOfDealMax)
		if err != nil {
			return nil, fmt.Errorf("looking for deals of %d records: %w", len(records), postgres.Classify(err))
		}
		var m made
		var key string
		if _, err := pgx.ForEachRow(rows, []any{&m.tenant, &key, &m.Kind, &m.Hash}, func() error {
			makers[m] = append(makers[m], key)
			deals[key] = append(deals[key], m.Claim)
			return nil
		}); err != nil {
			return nil, fmt.Errorf("looking for deals of %d records: %w", len(records), postgres.Classify(err))
		}
	}
	out := make([]Found, len(records))
	for i, r := range records {
		out[i] = Found{Deals: map[string][]Claim{}, Common: map[string]bool{}}
		for _, c := range r.Claims {
			keys := makers[made{r.Tenant, c}]
			if len(keys) > commonMax {
				out[i].Common[c.Kind] = true
			}
			for _, key := range keys {
				out[i].Deals[key] = deals[key]
			}
		}
	}
	return out, nil
}

// Changes are what a batch of translate writes about links, in the transaction that moves its offset.
type Changes struct {
	Deals []Deal
	Waits []Wait
	Acted map[string]int64 // by resource, the decision that the batch's events tell
}

// Deal is what a deal claims now; nothing where it is gone.
type Deal struct {
	Key    string
	Tenant string
	Claims []Claim
	New    bool // it claimed nothing before
}

// Scope is what a held record waits for.
func Scope(resource string) verdict.Scope { return verdict.LinkScope(resource) }

// Write writes c and wakes who waited for it (protocol.md 9, 39). Between a record's look for a deal,
// which is before its batch's transaction, and its wait, a deal may come, or a person decide: under the
// tenant's lock either the deal's transaction finds the wait, or the record's finds the deal; then the
// record is released at once.
func (l *Linker) Write(ctx context.Context, tx pgx.Tx, c Changes) error {
	for _, step := range []func(context.Context, pgx.Tx, Changes) error{l.claims, l.acted, l.waits} {
		if err := step(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

func (l *Linker) claims(ctx context.Context, tx pgx.Tx, c Changes) error {
	if len(c.Deals) == 0 {
		return nil
	}
	var owners, tenants, kinds, hashes, keys, before []string
	for _, d := range c.Deals {
		owners = append(owners, d.Tenant)
		if !d.New {
			before = append(before, d.Key)
		}
		for _, one := range d.Claims {
			tenants, kinds = append(tenants, d.Tenant), append(kinds, one.Kind)
			hashes, keys = append(hashes, one.Hash), append(keys, d.Key)
		}
	}
	b := &pgx.Batch{}
	b.Queue(postgres.In(l.schema, sqlShare), distinct(owners))
	var waiting []string
	b.Queue(postgres.In(l.schema, sqlClaimsGone), before, tenants, hashes).Query(func(rows pgx.Rows) (err error) {
		waiting, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	b.Queue(postgres.In(l.schema, sqlClaims), tenants, hashes, kinds, keys)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("writing the claims of %d deals: %w", len(c.Deals), err)
	}
	return l.wake(ctx, tx, waiting)
}

func (l *Linker) wake(ctx context.Context, tx pgx.Tx, resources []string) error {
	if len(resources) == 0 {
		return nil
	}
	_, err := ledger.WakeIn(ctx, tx, l.schema, col(resources, Scope)...)
	return err
}

func (l *Linker) acted(ctx context.Context, tx pgx.Tx, c Changes) error {
	if len(c.Acted) == 0 {
		return nil
	}
	resources, seqs := make([]string, 0, len(c.Acted)), make([]int64, 0, len(c.Acted))
	for key, seq := range c.Acted {
		resources, seqs = append(resources, key), append(seqs, seq)
	}
	b := &pgx.Batch{}
	b.Queue(postgres.In(l.schema, sqlActed), resources, seqs)
	b.Queue(postgres.In(l.schema, sqlWaitOver), resources)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("writing which decisions of %d records were acted upon: %w", len(resources), err)
	}
	return nil
}

func distinct(list []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
