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
	"conveyance/internal/verdict"
)

// Queue is one group's queue as operators see it. It asks, and the partitions' owners act: no
// method calls a vendor or touches a queued record (protocol.md 38, 39).
type Queue struct{ store Store }

// NewQueue returns the queue of a group's schema.
func NewQueue(pool *pgxpool.Pool, schema string) *Queue { return &Queue{Store{pool, schema}} }

// ErrNotQueued means that no key of the queue is meant.
var ErrNotQueued = errors.New("no such key in the queue")

// Filter chooses keys of the queue; empty fields choose all.
type Filter struct {
	Topic, Tenant, Cause, Key string
	Scope                     verdict.Scope
	Kind                      Kind
	Limit                     int // default 1,000
}

// filterLimit bounds a listing: more is not read by a person.
const filterLimit = 1000

func (f Filter) args() []any {
	if f.Limit == 0 {
		f.Limit = filterLimit
	}
	return []any{f.Topic, f.Tenant, f.Cause, f.Key, string(f.Scope), f.Kind, f.Limit}
}

// Held is a key in the queue.
type Held struct {
	Topic         string        `json:"topic"`
	Partition     int32         `json:"partition"`
	Key           string        `json:"key"`
	Tenant        string        `json:"tenant"`
	Kind          Kind          `json:"kind"`
	Scope         verdict.Scope `json:"scope"`
	Cause         string        `json:"cause"`
	Detail        string        `json:"detail"`
	Since         time.Time     `json:"since"`
	NextTry       *time.Time    `json:"next_try"`
	ReleaseWanted bool          `json:"release_wanted"`
	Count         int64         `json:"count"`
}

// List returns the keys that f chooses, the longest waiting first.
func (q *Queue) List(ctx context.Context, f Filter) ([]Held, error) {
	rows, err := q.store.pool.Query(ctx, q.store.in(sqlList), f.args()...)
	if err != nil {
		return nil, fmt.Errorf("listing the queue: %w", err)
	}
	held, err := collect(rows, scanHeld)
	if err != nil {
		return nil, fmt.Errorf("listing the queue: %w", err)
	}
	return held, nil
}

func scanHeld(r pgx.CollectableRow, h *Held) error {
	err := r.Scan(&h.Topic, &h.Partition, &h.Key, &h.Tenant, &h.Kind, &h.Scope, &h.Cause, &h.Detail, &h.Since,
		&h.NextTry, &h.ReleaseWanted, &h.Count)
	h.Since = h.Since.UTC()
	return err
}

// Sum is what waits for one thing.
type Sum struct {
	Kind    Kind          `json:"kind"`
	Cause   string        `json:"cause"`
	Scope   verdict.Scope `json:"scope"`
	Count   int64         `json:"count"` // records
	Keys    int64         `json:"keys"`
	Oldest  time.Time     `json:"oldest"`
	NextTry *time.Time    `json:"next_try"`
}

// Sums returns the queue by kind, cause and scope, the most first.
func (q *Queue) Sums(ctx context.Context) ([]Sum, error) {
	rows, err := q.store.pool.Query(ctx, q.store.in(sqlSums))
	if err != nil {
		return nil, fmt.Errorf("summing the queue: %w", err)
	}
	sums, err := collect(rows, func(r pgx.CollectableRow, s *Sum) error {
		return r.Scan(&s.Kind, &s.Cause, &s.Scope, &s.Count, &s.Keys, &s.Oldest, &s.NextTry)
	})
	if err != nil {
		return nil, fmt.Errorf("summing the queue: %w", err)
	}
	return sums, nil
}

// Detail is a key in the queue with its open records, and what the ledger says of the first.
type Detail struct {
	Held
	Records  []HeldRecord `json:"records"`
	Effects  []HeldEffect `json:"effects"`
	Evidence []Evidence   `json:"evidence"`
}

// HeldRecord is a record in the queue, without its body.
type HeldRecord struct {
	Offset   int64             `json:"offset"`
	At       time.Time         `json:"at"`
	Cause    string            `json:"cause"`
	Attempts int               `json:"attempts"`
	Headers  map[string]string `json:"headers"` // the CloudEvents ones
	Bytes    int               `json:"bytes"`
}

// HeldEffect is a ledger row of the first open record's event.
type HeldEffect struct {
	Step      int64      `json:"step"`
	State     string     `json:"state"`
	ClaimedAt *time.Time `json:"claimed_at"`
	DoneAt    *time.Time `json:"done_at"`
	Ref       string     `json:"ref"`
	Line      string     `json:"line"`
}

// Evidence is what an owner that was fenced, or a sweep, left about a call.
type Evidence struct {
	At      time.Time `json:"at"`
	EID     uuid.UUID `json:"event_id"`
	Step    int64     `json:"step"`
	Owner   uuid.UUID `json:"owner"`
	Outcome string    `json:"outcome"`
}

// showRecords bounds the records of one key in Show.
const showRecords = 100

// Show returns one key with its first records. It returns ErrNotQueued where there is none.
func (q *Queue) Show(ctx context.Context, topic, key string) (Detail, error) {
	held, err := q.List(ctx, Filter{Topic: topic, Key: key, Limit: 1})
	if err != nil {
		return Detail{}, err
	}
	if len(held) == 0 {
		return Detail{}, fmt.Errorf("%s of %s: %w", key, topic, ErrNotQueued)
	}
	d := Detail{Held: held[0]}
	records, err := q.store.QueuedRecords(ctx, held[0].Topic, []string{key}, showRecords)
	if err != nil {
		return Detail{}, err
	}
	for _, r := range records {
		d.Records = append(d.Records, HeldRecord{Offset: r.Pos, At: r.At.UTC(), Cause: r.Cause, Attempts: r.Attempts,
			Headers: ceHeaders(r.Headers), Bytes: len(r.Value)})
	}
	if len(records) == 0 {
		return d, nil
	}
	eid, err := uuid.Parse(ceHeaders(records[0].Headers)["ce_id"])
	if err != nil {
		return d, nil //nolint:nilerr // a record that is no event has no effects
	}
	b := &pgx.Batch{}
	b.Queue(q.store.in(sqlEffects), eid).Query(func(rows pgx.Rows) error {
		d.Effects, err = collect(rows, func(r pgx.CollectableRow, e *HeldEffect) error {
			var s State
			err := r.Scan(&e.Step, &s, &e.ClaimedAt, &e.DoneAt, &e.Ref, &e.Line)
			e.State = s.String()
			return err
		})
		return err
	})
	b.Queue(q.store.in(sqlEvidenceOf), eid).Query(func(rows pgx.Rows) error {
		d.Evidence, err = collect(rows, scanEvidence)
		return err
	})
	if err := q.store.pool.SendBatch(ctx, b).Close(); err != nil {
		return Detail{}, fmt.Errorf("reading the effects of %s: %w", key, err)
	}
	return d, nil
}

func scanEvidence(r pgx.CollectableRow, e *Evidence) error {
	return r.Scan(&e.At, &e.EID, &e.Step, &e.Owner, &e.Outcome)
}

func ceHeaders(headers []Header) map[string]string {
	m := map[string]string{}
	for _, h := range headers {
		if len(h.Key) > 3 && h.Key[:3] == "ce_" {
			m[h.Key] = string(h.Value)
		}
	}
	return m
}

// Release asks for everything that f chooses to be tried again, and returns how many keys. Twice is
// once. A first record whose outcome is unknown stays: only Settle ends that.
func (q *Queue) Release(ctx context.Context, f Filter, actor, reason string) (int64, error) {
	return q.wish(ctx, f, Release, "release", actor, reason)
}

// Drop asks for the first record of a key to be given up; those behind it flow. The reason is kept.
func (q *Queue) Drop(ctx context.Context, topic, key, actor, reason string) error {
	return q.one(ctx, topic, key, Drop, "drop", actor, reason)
}

// Settle says of a key's first record, whose outcome is unknown, what a person found at the
// destination: that the effect is in place, or that it must be sent again (protocol.md 37).
func (q *Queue) Settle(ctx context.Context, topic, key string, inPlace bool, actor, reason string) error {
	if inPlace {
		return q.one(ctx, topic, key, InPlaceOK, "applied", actor, reason)
	}
	return q.one(ctx, topic, key, SendAgain, "send again", actor, reason)
}

func (q *Queue) one(ctx context.Context, topic, key string, w WishKind, action, actor, reason string) error {
	n, err := q.wish(ctx, Filter{Topic: topic, Key: key, Limit: 1}, w, action, actor, reason)
	if err == nil && n == 0 {
		err = fmt.Errorf("%s of %s: %w", key, topic, ErrNotQueued)
	}
	return err
}

func (q *Queue) wish(ctx context.Context, f Filter, w WishKind, action, actor, reason string) (n int64, err error) {
	err = postgres.Tx(ctx, q.store.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, q.store.in(sqlWish), append(f.args(), w, action, actor, clean(reason))...)
		n = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("asking for %s: %w", action, err)
	}
	return n, nil
}

// Wake asks for everything in the group of schema that waits for one of scopes; see Store.Wake.
func Wake(ctx context.Context, pool *pgxpool.Pool, schema string, scopes ...verdict.Scope) (int64, error) {
	return Open(pool, schema).Wake(ctx, scopes...)
}

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
		if err := tx.QueryRow(ctx, postgres.In(schema, sqlRewind), p.Topic, p.Part, next, actor, clean(reason)).Scan(&open); err != nil {
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
	_, err := s.pool.Exec(ctx, s.in(sqlEvidence), col(rows, func(e Evidence) uuid.UUID { return e.EID }),
		col(rows, func(e Evidence) int64 { return e.Step }), col(rows, func(e Evidence) uuid.UUID { return e.Owner }),
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
