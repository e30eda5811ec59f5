package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/postgres"
)

// Offset is where a group stands in a partition.
type Offset struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Next      *int64    `json:"next_offset"`
	Owner     uuid.UUID `json:"owner"`
	Epoch     int64     `json:"epoch"`
	ClaimedAt time.Time `json:"claimed_at"`
}

// Offsets returns where the group of schema stands, by topic and partition.
func Offsets(ctx context.Context, pool *pgxpool.Pool, schema string) ([]Offset, error) {
	rows, err := pool.Query(ctx, postgres.In(schema, sqlOffsets))
	if err != nil {
		return nil, fmt.Errorf("listing offsets of %s: %w", schema, err)
	}
	offsets, err := collect(rows, func(r pgx.CollectableRow, o *Offset) error {
		err := r.Scan(&o.Topic, &o.Partition, &o.Next, &o.Owner, &o.Epoch, &o.ClaimedAt)
		o.ClaimedAt = o.ClaimedAt.UTC()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing offsets of %s: %w", schema, err)
	}
	return offsets, nil
}

// ErrOpenEffects means that a rewind would jump over effects that are under way or in doubt.
var ErrOpenEffects = errors.New("effects are open between the stored and the wanted offset")

// Rewind sets where the group stands in a partition, and makes the running owner's token void in
// the same statement: it claims anew and goes on from there (protocol.md 4). Effects recorded in
// the ledger do not happen again. Forward it jumps over no open effect. It is audited.
func Rewind(ctx context.Context, pool *pgxpool.Pool, schema string, p Place, next int64, actor, reason string) error {
	err := postgres.Tx(ctx, pool, func(tx pgx.Tx) error {
		var open bool
		row := tx.QueryRow(ctx, postgres.In(schema, sqlRewind), p.Topic, p.Part, next, actor, clean(reason))
		if err := row.Scan(&open); err != nil {
			return err
		}
		if open {
			return ErrOpenEffects
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("setting %s to %d: %w", p, next, err)
	}
	return nil
}

// WriteEvidence keeps what a fenced owner had called, and how it ended. It needs no token, and
// nothing is ever decided by its absence (protocol.md 32).
func (s *Store) WriteEvidence(ctx context.Context, rows []Evidence) error {
	_, err := s.pool.Exec(ctx, s.in(sqlEvidence), col(rows, func(e Evidence) [16]byte { return e.EID }),
		col(rows, func(e Evidence) int64 { return e.Step }), col(rows, func(e Evidence) [16]byte { return e.Owner }),
		col(rows, func(e Evidence) string { return clean(e.Outcome) }))
	if err != nil {
		return fmt.Errorf("writing evidence of calls: %w", err)
	}
	return nil
}

// RecentEvidence returns the newest evidence of the group of schema, newest first.
func RecentEvidence(ctx context.Context, pool *pgxpool.Pool, schema string, limit int) ([]Evidence, error) {
	rows, err := pool.Query(ctx, postgres.In(schema, sqlRecentEvidence), limit)
	if err != nil {
		return nil, fmt.Errorf("listing evidence of %s: %w", schema, err)
	}
	found, err := collect(rows, scanEvidence)
	if err != nil {
		return nil, fmt.Errorf("listing evidence of %s: %w", schema, err)
	}
	return found, nil
}

// EffectRow is what the ledger says of one effect of an event.
type EffectRow struct {
	EID       uuid.UUID  `json:"event_id"`
	Step      int64      `json:"step"`
	State     string     `json:"state"`
	Topic     string     `json:"topic"`
	Partition int32      `json:"partition"`
	Offset    int64      `json:"offset"`
	ClaimedAt *time.Time `json:"claimed_at"`
	DoneAt    *time.Time `json:"done_at"`
	Ref       string     `json:"ref"` // the destination's
	Line      string     `json:"line"`
}

// Effects returns the ledger's rows of events in the group of schema, in the order of their claims.
func Effects(ctx context.Context, pool *pgxpool.Pool, schema string, ids []uuid.UUID) ([]EffectRow, error) {
	rows, err := pool.Query(ctx, postgres.In(schema, sqlEffects), ids)
	if err != nil {
		return nil, fmt.Errorf("reading effects of %s: %w", schema, err)
	}
	effects, err := collect(rows, func(r pgx.CollectableRow, e *EffectRow) error {
		var s State
		err := r.Scan(&e.EID, &e.Step, &s, &e.Topic, &e.Partition, &e.Offset, &e.ClaimedAt, &e.DoneAt, &e.Ref, &e.Line)
		e.State = s.String()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading effects of %s: %w", schema, err)
	}
	return effects, nil
}

// Evidence is what an owner that was fenced, or a sweep, left about a call.
type Evidence struct {
	At      time.Time `json:"at"`
	EID     uuid.UUID `json:"event_id"`
	Step    int64     `json:"step"`
	Owner   uuid.UUID `json:"owner"`
	Outcome string    `json:"outcome"`
}

func scanEvidence(r pgx.CollectableRow, e *Evidence) error {
	return r.Scan(&e.At, &e.EID, &e.Step, &e.Owner, &e.Outcome)
}
