package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/fault"
	"conveyance/internal/postgres"
)

// Row is an effect of class A: a record that a projection is about to write.
type Row struct {
	EID       uuid.UUID
	Step      int64 // 0 where an event has one effect here
	Topic     string
	Partition int32
	Offset    int64
}

// Fresh records rows in the ledger of schema and says, row by row, which of them have their effect
// now: those whose event and step were not there before, and of copies within rows the first. It
// belongs into the transaction that writes the effects and moves the offset (protocol.md 12).
func Fresh(ctx context.Context, tx pgx.Tx, schema string, rows []Row) ([]bool, error) {
	fresh := make([]bool, len(rows))
	if len(rows) == 0 {
		return fresh, nil
	}
	s := Store{schema: schema}
	months := monthSet{}
	for _, r := range rows {
		months.add(r.EID)
	}
	var missing []time.Time
	b := &pgx.Batch{}
	s.queueMissingMonths(b, months, &missing)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("looking for the ledger's months: %w", err)
	}
	if err := s.makeMonths(ctx, tx, missing); err != nil {
		return nil, err
	}
	result, err := tx.Query(ctx, s.in(sqlFresh), col(rows, func(r Row) [16]byte { return r.EID }),
		col(rows, func(r Row) int64 { return r.Step }), col(rows, func(r Row) int64 { return r.Offset }),
		col(rows, func(r Row) string { return r.Topic }), col(rows, func(r Row) int32 { return r.Partition }))
	if err != nil {
		return nil, fmt.Errorf("recording effects: %w", err)
	}
	is := make(map[ID]bool, len(rows))
	var id ID
	if err := scanRows(result, []any{&id.EID, &id.Step}, func() { is[id] = true }); err != nil {
		return nil, fmt.Errorf("recording effects: %w", err)
	}
	for i, r := range rows {
		id := ID{r.EID, r.Step}
		fresh[i] = is[id]
		if !fault.Broken("SELECT-then-INSERT") {
			delete(is, id)
		}
	}
	return fresh, nil
}

// The ledger has a partition per month of ids between these years, and one each for what lies
// outside; their bounds stand in the first migration.
var (
	monthsFrom  = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	monthsUntil = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// monthSet is the first days of the months that ids lie in.
type monthSet map[time.Time]bool

func (m monthSet) add(id uuid.UUID) {
	t := event.IDTime(id)
	if !t.Before(monthsFrom) && t.Before(monthsUntil) {
		m[time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)] = true
	}
}

func monthsOf(t *Turn) monthSet {
	m := monthSet{}
	for _, e := range t.Ends {
		m.add(e.EID)
	}
	for _, w := range t.Wants {
		m.add(w.EID)
	}
	return m
}

func monthTable(month time.Time) string { return "ledger_" + month.Format("200601") }

// monthBound is the lowest id of a month.
func monthBound(month time.Time) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(month.UnixMilli())<<16)
	return id
}

// queueMissingMonths looks months up in the catalog's cache: one cheap statement for a whole turn.
func (s *Store) queueMissingMonths(b *pgx.Batch, months monthSet, missing *[]time.Time) {
	if len(months) == 0 {
		return
	}
	all := make([]time.Time, 0, len(months))
	names := make([]string, 0, len(months))
	for m := range months {
		all = append(all, m)
		names = append(names, postgres.In(s.schema, "{schema}.")+monthTable(m))
	}
	b.Queue(sqlMissing, names).Query(func(rows pgx.Rows) error {
		var ord int64
		return scanRows(rows, []any{&ord}, func() { *missing = append(*missing, all[ord-1]) })
	})
}

// makeMonths attaches tables for months. Attaching does not lock out those who insert into other
// months, as creating a partition in place would; the advisory lock lets one maker at a time look again.
func (s *Store) makeMonths(ctx context.Context, tx pgx.Tx, months []time.Time) error {
	for _, m := range months {
		if _, err := tx.Exec(ctx, sqlMonthLock, s.schema); err != nil {
			return fmt.Errorf("locking the ledger's months: %w", err)
		}
		var gone bool
		if err := tx.QueryRow(ctx, sqlMonthGone, s.schema, monthTable(m)).Scan(&gone); err != nil {
			return fmt.Errorf("looking for month %s of the ledger: %w", m.Format("2006-01"), err)
		}
		if !gone {
			continue
		}
		table := s.in("{schema}.") + monthTable(m)
		ddl := fmt.Sprintf(s.in(sqlMonth), table, table, monthBound(m), monthBound(m.AddDate(0, 1, 0)))
		if _, err := tx.Exec(ctx, ddl, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("making month %s of the ledger: %w", m.Format("2006-01"), err)
		}
	}
	return nil
}
