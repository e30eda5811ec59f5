package link

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/postgres"
	"conveyance/producers"
)

const (
	// listMax is how many records List returns at most: more are not read by a person.
	listMax = 1000
	// suggestMax is how many deals are suggested for one record.
	suggestMax = 10
)

// List returns the records of a tenant that have no deal, the longest waiting first, 1,000 at most, each
// with its likeliest deals. An empty tenant is all.
func (d *Desk) List(ctx context.Context, tenant string) ([]Unlinked, error) {
	return d.waiting(ctx, d.linker.pool, tenant, "", listMax)
}

// Suggest returns one record that has no deal. It returns ErrUnknown where that is none.
func (d *Desk) Suggest(ctx context.Context, resource string) (Unlinked, error) {
	all, err := d.waiting(ctx, d.linker.pool, "", resource, 1)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%w that waits for a deal: %s", ErrUnknown, resource)
	}
	if err != nil {
		return Unlinked{}, err
	}
	return all[0], nil
}

func (d *Desk) waiting(ctx context.Context, q querier, tenant, resource string, limit int) ([]Unlinked, error) {
	all, err := d.unlinked(ctx, q, tenant, resource, limit)
	if err != nil {
		return nil, fmt.Errorf("listing records without a deal: %w", postgres.Classify(err))
	}
	found, err := d.linker.find(ctx, q, col(all, func(u Unlinked) Record { return Record{u.Resource, u.Tenant, u.claims} }))
	if err != nil {
		return nil, err
	}
	for i := range all {
		u := &all[i]
		u.found = found[i]
		u.Claims = append([]string{}, col(u.claims, func(c Claim) string { return c.Kind })...)
		u.Deals = rank(u.claims, u.found)
	}
	return all, nil
}

func (d *Desk) unlinked(ctx context.Context, q querier, tenant, resource string, limit int) ([]Unlinked, error) {
	rows, err := q.Query(ctx, postgres.In(d.linker.schema, sqlWaiting), tenant, resource, limit)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (u Unlinked, err error) {
		err = row.Scan(&u.Resource, &u.Tenant, &u.Undone, &u.Since)
		u.Since = u.Since.UTC()
		return u, err
	})
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	for i, u := range all {
		at[u.Resource] = i
	}
	rows, err = q.Query(ctx, postgres.In(d.linker.schema, sqlWaitingClaims), col(all, func(u Unlinked) string { return u.Resource }))
	if err != nil {
		return nil, err
	}
	var key string
	var c Claim
	_, err = pgx.ForEachRow(rows, []any{&key, &c.Kind, &c.Hash}, func() error {
		u := &all[at[key]]
		u.claims = append(u.claims, c)
		return nil
	})
	return all, err
}

// weights say how much a shared claim of a kind tells, for an order that people read from the top.
var weights = map[string]int{
	producers.ClaimDealID: 16, producers.ClaimMLS: 8, producers.ClaimEscrow: 8, producers.ClaimAddress: 4, producers.ClaimEmail: 2,
}

// rank orders deals by what they share with a record; those that contradict it come last.
func rank(record []Claim, found Found) []Suggestion {
	out := []Suggestion{}
	weight := map[string]int{}
	for key, claims := range found.Deals {
		s := Suggestion{Deal: key, Contradicts: contradicts(record, claims)}
		for _, c := range shared(record, claims) {
			s.Matches = append(s.Matches, c.Kind)
			weight[key] += weights[c.Kind]
		}
		if s.Contradicts {
			weight[key] -= 1000
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Suggestion) int {
		return cmp.Or(cmp.Compare(weight[b.Deal], weight[a.Deal]), cmp.Compare(a.Deal, b.Deal))
	})
	return out[:min(len(out), suggestMax)]
}
