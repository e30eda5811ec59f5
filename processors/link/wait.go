package link

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"conveyance/internal/postgres"
)

// Wait is a record that somebody signed, and that has no deal.
type Wait struct {
	Record
	Undone bool  // a person undid its link: no deal's claims wake it
	Seen   int64 // the last decision that was looked at
	Queued bool  // it is held in this very transaction
}

func (l *Linker) waits(ctx context.Context, tx pgx.Tx, c Changes) error {
	if len(c.Waits) == 0 {
		return nil
	}
	w := c.Waits
	alone, err := l.alone(ctx, tx, distinct(col(w, func(w Wait) string { return w.Tenant })))
	if err != nil {
		return fmt.Errorf("locking the links of %d records: %w", len(w), err)
	}
	if err := l.wait(ctx, tx, w); err != nil {
		return fmt.Errorf("writing that %d records wait: %w", len(w), err)
	}
	found, err := l.find(ctx, tx, col(w, func(w Wait) Record { return w.Record }))
	if err != nil {
		return err
	}
	links, err := l.read(ctx, tx, col(w, func(w Wait) string { return w.Resource }))
	if err != nil {
		return err
	}
	var again []string
	for i, one := range w {
		last, _ := links[one.Resource].InForce()
		_, come := Climb(one.Claims, found[i])
		if one.Queued && (!alone || last.Seq > one.Seen || (come && !one.Undone)) {
			again = append(again, one.Resource)
		}
	}
	return l.wake(ctx, tx, again)
}

// patience is how long a record that begins to wait stands still for deals' transactions. It holds rows
// of the queue meanwhile, for which one of them may be waiting: then neither would go on.
const patience = 50 * time.Millisecond

// alone takes the tenants' locks, and returns false where that took too long.
func (l *Linker) alone(ctx context.Context, tx pgx.Tx, tenants []string) (bool, error) {
	sp, err := tx.Begin(ctx) // a savepoint: waiting in vain undoes no more than itself
	if err != nil {
		return false, err
	}
	b := &pgx.Batch{}
	b.Queue(sqlPatience, strconv.FormatInt(patience.Milliseconds(), 10))
	b.Queue(postgres.In(l.schema, sqlAlone), tenants)
	err = sp.SendBatch(ctx, b).Close()
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == lockNotAvailable {
		return false, sp.Rollback(ctx)
	}
	if err != nil {
		return false, err
	}
	return true, sp.Commit(ctx)
}

// lockNotAvailable is Postgres's code of a lock that was waited for in vain.
const lockNotAvailable = "55P03"

// wait writes who waits for what.
func (l *Linker) wait(ctx context.Context, tx pgx.Tx, w []Wait) error {
	resources := col(w, func(w Wait) string { return w.Resource })
	var of, tenants, kinds, hashes []string
	for _, one := range w {
		for _, c := range one.Claims {
			of, tenants = append(of, one.Resource), append(tenants, one.Tenant)
			kinds, hashes = append(kinds, c.Kind), append(hashes, c.Hash)
		}
	}
	b := postgres.Timeouts() // as they were before alone
	b.Queue(postgres.In(l.schema, sqlWait), resources, col(w, func(w Wait) string { return w.Tenant }),
		col(w, func(w Wait) bool { return w.Undone }))
	b.Queue(postgres.In(l.schema, sqlWaitClaimsGone), resources, of, hashes)
	b.Queue(postgres.In(l.schema, sqlWaitClaims), of, tenants, kinds, hashes)
	return tx.SendBatch(ctx, b).Close()
}
