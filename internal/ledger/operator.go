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
	Effects  []EffectRow  `json:"effects"`
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
		d.Records = append(d.Records, HeldRecord{
			Offset: r.Pos, At: r.At.UTC(), Cause: r.Cause, Attempts: r.Attempts,
			Headers: ceHeaders(r.Headers), Bytes: len(r.Value),
		})
	}
	if len(records) == 0 {
		return d, nil
	}
	eid, err := uuid.Parse(ceHeaders(records[0].Headers)["ce_id"])
	if err != nil {
		return d, nil //nolint:nilerr // a record that is no event has no effects
	}
	if d.Effects, err = Effects(ctx, q.store.pool, q.store.schema, []uuid.UUID{eid}); err != nil {
		return Detail{}, err
	}
	rows, err := q.store.pool.Query(ctx, q.store.in(sqlEvidenceOf), eid)
	if err != nil {
		return Detail{}, fmt.Errorf("reading evidence about %s: %w", eid, err)
	}
	if d.Evidence, err = collect(rows, scanEvidence); err != nil {
		return Detail{}, fmt.Errorf("reading evidence about %s: %w", eid, err)
	}
	return d, nil
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

// WakeIn is Wake in a transaction of the caller's: who waits is released if it commits, together with
// what heals them.
func WakeIn(ctx context.Context, tx pgx.Tx, schema string, scopes ...verdict.Scope) (int64, error) {
	tag, err := tx.Exec(ctx, postgres.In(schema, sqlWake), scopes)
	if err != nil {
		return 0, fmt.Errorf("waking what waits: %w", err)
	}
	return tag.RowsAffected(), nil
}
