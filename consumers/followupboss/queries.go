package followupboss

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// The primary keys serve all of them; a link that is written again says the same.
const (
	sqlPeople = `
SELECT contact_key, person_id
  FROM {schema}.person_link
 WHERE tenant = $1
   AND account = $2
   AND contact_key = ANY ($3)`

	sqlLinkPerson = `
INSERT INTO {schema}.person_link (tenant, account, contact_key, person_id)
VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant, account, contact_key) DO UPDATE
   SET person_id = EXCLUDED.person_id`

	sqlDeal = `
SELECT deal_id, people, users
  FROM {schema}.deal_link
 WHERE tenant = $1
   AND account = $2
   AND deal_key = $3`

	sqlLinkDeal = `
INSERT INTO {schema}.deal_link (tenant, account, deal_key, deal_id, people, users)
VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (tenant, account, deal_key) DO UPDATE
   SET deal_id = EXCLUDED.deal_id, people = EXCLUDED.people, users = EXCLUDED.users`
)

// links remember which record of the CRM stands for which of ours.
type links struct {
	pool                               *pgxpool.Pool
	people, linkPerson, deal, linkDeal string
}

func newLinks(pool *pgxpool.Pool, schema string) links {
	in := func(sql string) string { return postgres.In(schema, sql) }
	return links{pool, in(sqlPeople), in(sqlLinkPerson), in(sqlDeal), in(sqlLinkDeal)}
}

// dealLink is the deal in the CRM and whom we put on it; a zero ID is none.
type dealLink struct {
	ID            int64
	People, Users []int64
}

// of names an account for links: by the vendor's id of it.
func of(a tenant.Account) string {
	if a.ExternalID != "" {
		return a.ExternalID
	}
	return a.Name
}

// People returns the ids of those contacts that have one. An error means that nothing was sent.
func (l links) People(ctx context.Context, a tenant.Account, contacts []string) (map[string]int64, error) {
	ids := map[string]int64{}
	rows, err := l.pool.Query(ctx, l.people, a.Tenant, of(a), contacts)
	if err == nil {
		var key string
		var id int64
		_, err = pgx.ForEachRow(rows, []any{&key, &id}, func() error { ids[key] = id; return nil })
	}
	if err != nil {
		return nil, unsent(fmt.Errorf("reading links of people: %w", err))
	}
	return ids, nil
}

// Deal returns a deal's link. An error means that nothing was sent.
func (l links) Deal(ctx context.Context, a tenant.Account, dealKey string) (d dealLink, err error) {
	err = l.pool.QueryRow(ctx, l.deal, a.Tenant, of(a), dealKey).Scan(&d.ID, &d.People, &d.Users)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return d, unsent(fmt.Errorf("reading the link of deal %s: %w", dealKey, err))
	}
	return d, nil
}

// KeepPerson remembers a person's id. Its error has no verdict: after a write it leaves the effect
// in doubt, and reading back finds the person and keeps the link.
func (l links) KeepPerson(ctx context.Context, a tenant.Account, contact string, id int64) error {
	if _, err := l.pool.Exec(ctx, l.linkPerson, a.Tenant, of(a), contact, id); err != nil {
		return fmt.Errorf("keeping the link of contact %s: %w", contact, err)
	}
	return nil
}

// KeepDeal remembers a deal's id and whom we put on it, with errors as KeepPerson's.
func (l links) KeepDeal(ctx context.Context, a tenant.Account, dealKey string, d dealLink) error {
	if _, err := l.pool.Exec(ctx, l.linkDeal, a.Tenant, of(a), dealKey, d.ID, d.People, d.Users); err != nil {
		return fmt.Errorf("keeping the link of deal %s: %w", dealKey, err)
	}
	return nil
}

// unsent marks a failure of our Postgres before anything was sent.
func unsent(err error) error { return verdict.RetryAfter(0, "links unavailable", err) }
