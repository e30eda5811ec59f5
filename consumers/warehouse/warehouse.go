// Package warehouse keeps deals, their people, money, status history and signed documents as tables
// for people who write SQL; the migrations describe every column. It projects events of deals,
// contacts and links.
//
// A row moves only to a higher revision of its record, whatever order and however often events
// come; a deal's participants, agents and split are replaced as a whole, and only together with it.
// A batch of any size takes the same few statements, in two round trips.
package warehouse

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"conveyance/consumers"
	"conveyance/internal/postgres"
)

// Name is the destination's one name.
const Name = "warehouse"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the warehouse's tables.
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

// Destination is what this folder offers; the register adds what it reads.
func Destination() consumers.Destination {
	return consumers.Destination{
		Name: Name, Migrations: Migrations(),
		Projection: func(d consumers.Deps) (consumers.Projection, error) { return New(d.Schema), nil },
	}
}

// Warehouse is a consumers.Projection. It is safe for concurrent use.
type Warehouse struct {
	deals, history, contacts, signatures, links table
	parts                                       []table // whose rows belong to a deal
}

// table is a table and its statements.
type table struct {
	name    string
	columns []column
	write   string
	clear   string // of a part: drops a deal's rows
}

// queue puts the writing of a slice of rows into a batch; nil where there are none.
func (t table) queue(b *pgx.Batch, rows any) *pgx.QueuedQuery {
	if reflect.ValueOf(rows).Len() == 0 {
		return nil
	}
	return b.Queue(t.write, arrays(t.columns, rows)...)
}

// New returns a projection into the tables of a schema.
func New(schema string) *Warehouse {
	of := func(sql, name string, row any) table {
		c := columnsOf(reflect.TypeOf(row))
		return table{
			name: name, columns: c,
			write: postgres.In(schema, statement(sql, name, c)),
			clear: postgres.In(schema, statement(sqlClear, name, nil)),
		}
	}
	newest := func(key string) string { return strings.ReplaceAll(sqlNewest, "{key}", key) }
	return &Warehouse{
		deals:      of(newest("deal_key"), "deal", dealRow{}),
		history:    of(sqlOnce, "deal_status_history", historyRow{}),
		contacts:   of(newest("contact_key, resource_key"), "contact", contactRow{}),
		signatures: of(sqlOnce, "signature", signatureRow{}),
		links:      of(newest("resource_key"), "resource_link", linkRow{}),
		parts: []table{
			of(sqlOnce, "deal_participant", participantRow{}),
			of(sqlOnce, "deal_agent", agentRow{}),
			of(sqlOnce, "deal_commission", commissionRow{}),
			of(sqlOnce, "deal_fee", feeRow{}),
			of(sqlOnce, "deal_payee", payeeRow{}),
		},
	}
}

// Project writes a batch: first what stands alone, then the parts of the deals that moved.
func (w *Warehouse) Project(ctx context.Context, tx pgx.Tx, batch []consumers.Placed) error {
	r := gather(batch)
	if err := w.project(ctx, tx, r); err != nil {
		return fmt.Errorf("writing %d records to the warehouse: %w", len(batch), postgres.Classify(err))
	}
	return nil
}

func (w *Warehouse) project(ctx context.Context, tx pgx.Tx, r *rows) error {
	var b pgx.Batch
	moved := map[string]bool{}
	if q := w.deals.queue(&b, newDeals(r.deals.items)); q != nil {
		q.Query(func(rows pgx.Rows) error {
			var key string
			_, err := pgx.ForEachRow(rows, []any{&key}, func() error { moved[key] = true; return nil })
			return err
		})
	}
	w.history.queue(&b, r.history)
	w.contacts.queue(&b, r.contacts.items)
	w.signatures.queue(&b, r.signatures)
	w.links.queue(&b, r.links.items)
	if err := send(ctx, tx, &b); err != nil {
		return err
	}
	deals := slices.DeleteFunc(r.deals.items, func(s state) bool { return !moved[s.deal.DealKey] })
	var replaced []string // those that had parts before
	for _, s := range deals {
		if s.origin.Revision > 1 {
			replaced = append(replaced, s.deal.DealKey)
		}
	}
	b = pgx.Batch{}
	parts := partsOf(deals)
	for _, t := range w.parts {
		if len(replaced) > 0 {
			b.Queue(t.clear, replaced)
		}
		t.queue(&b, parts[t.name])
	}
	return send(ctx, tx, &b)
}

func send(ctx context.Context, tx pgx.Tx, b *pgx.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, b).Close()
}
