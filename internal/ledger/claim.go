package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

// Claim is what an owner knows of a partition from its claim on.
type Claim struct {
	Place
	Owner       uuid.UUID // the token that every later transaction compares
	Epoch       int64     // for people
	Next        *int64    // nil = never read
	TopicID     uuid.UUID // zero = not yet known
	DoubtUntil  int64     // positions below it without a row are in doubt (protocol.md 49)
	RewoundFrom int64     // the highest offset that a person went back from
}

// Claim makes the caller the owner of places: each gets a new token, and whoever had one is fenced
// (protocol.md 1). It waits for transactions that the former owner has open, at most
// postgres.IdleInTransactionTimeout (protocol.md 4).
func (s *Store) Claim(ctx context.Context, places []Place, timeline int32) (claims []Claim, err error) {
	err = postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.in(sqlClaim), topics(places), parts(places), timeline)
		if err != nil {
			return err
		}
		claims, err = collect(rows, func(r pgx.CollectableRow, c *Claim) error {
			var topicID *uuid.UUID
			err := r.Scan(&c.Topic, &c.Part, &c.Next, &c.Owner, &c.Epoch, &topicID, &c.DoubtUntil, &c.RewoundFrom)
			if topicID != nil {
				c.TopicID = *topicID
			}
			return err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claiming partitions: %w", err)
	}
	return claims, nil
}

// Resolution is what a claim found in Kafka.
type Resolution struct {
	Place
	Owner      uuid.UUID
	Next       int64 // used where nothing was stored
	TopicID    uuid.UUID
	DoubtUntil int64
}

// Resolve stores what the claims found in Kafka, as the first numbered transaction of each owner.
// It returns the places where the owner still was the owner.
func (s *Store) Resolve(ctx context.Context, rs []Resolution) (kept map[Place]bool, err error) {
	kept = map[Place]bool{}
	err = postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.in(sqlResolve), topics(rs), parts(rs),
			col(rs, func(r Resolution) [16]byte { return r.Owner }),
			col(rs, func(r Resolution) int64 { return r.Next }),
			col(rs, func(r Resolution) [16]byte { return r.TopicID }),
			col(rs, func(r Resolution) int64 { return r.DoubtUntil }))
		if err != nil {
			return err
		}
		return each(rows, func(p Place) { kept[p] = true })
	})
	if err != nil {
		return nil, fmt.Errorf("storing where partitions begin: %w", err)
	}
	return kept, nil
}

// each calls fn for every row of (topic, part).
func each(rows pgx.Rows, fn func(Place)) error {
	var p Place
	return scanRows(rows, []any{&p.Topic, &p.Part}, func() { fn(p) })
}

// Busy is a ledger row in state claimed: a call of it may be under way (protocol.md 3).
type Busy struct {
	Place
	ID
	Pos       int64
	KeyID     string
	ClaimedAt time.Time
}

// Memory is everything that an owner must know before its first call.
type Memory struct {
	Busy      []Busy
	Keys      []QueuedKey
	QueuedTop int64 // the highest position in the queue, in whatever state; -1 = none
}

// Read returns what the owner of places starts from. It is read after the claim, so that it is
// exact: nobody else writes it from then on (protocol.md 2, 38).
func (s *Store) Read(ctx context.Context, places []Place) (map[Place]*Memory, error) {
	m := map[Place]*Memory{}
	for _, p := range places {
		m[p] = &Memory{QueuedTop: -1}
	}
	b := &pgx.Batch{}
	b.Queue(s.in(sqlBusy), topics(places), parts(places)).Query(func(rows pgx.Rows) error {
		var r Busy
		dest := []any{&r.Topic, &r.Part, &r.EID, &r.Step, &r.Pos, &r.KeyID, &r.ClaimedAt}
		return scanRows(rows, dest, func() { m[r.Place].Busy = append(m[r.Place].Busy, r) })
	})
	b.Queue(s.in(sqlKeys), topics(places), parts(places)).Query(func(rows pgx.Rows) error {
		keys, err := collect(rows, scanKey)
		for _, k := range keys {
			m[k.Place].Keys = append(m[k.Place].Keys, k)
		}
		return err
	})
	b.Queue(s.in(sqlQueuedTop), topics(places), parts(places)).Query(func(rows pgx.Rows) error {
		var p Place
		var top int64
		return scanRows(rows, []any{&p.Topic, &p.Part, &top}, func() { m[p].QueuedTop = top })
	})
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("reading what the partitions' owner left: %w", err)
	}
	return m, nil
}

// Pulse is what an owner looks for once a second.
type Pulse struct {
	Owners    map[Place]Owned // who owns the places now
	Wishes    []Wish
	Readbacks []Readback // due
	Open      map[ID]bool
}

// Owned is a place's token, and the number of the last transaction under it. A number below one that was
// committed means that Postgres lost its tail (protocol.md 49).
type Owned struct {
	Owner uuid.UUID
	Seq   int64
}

// Wish is what a person, or a wake, asks of a key's owner.
type Wish struct {
	Place
	KeyID    string
	Kind     WishKind
	Pos      int64 // the first record when it was asked; a wish about that record is about no other
	WantedAt time.Time
}

// Pulse reads the tokens of places, wishes for their keys, read-backs that are due, and which of
// busy are still claimed.
func (s *Store) Pulse(ctx context.Context, places []Place, busy []ID) (p Pulse, err error) {
	p.Owners, p.Open = map[Place]Owned{}, map[ID]bool{}
	b := &pgx.Batch{}
	b.Queue(s.in(sqlOwners), topics(places), parts(places)).Query(func(rows pgx.Rows) error {
		var at Place
		var now Owned
		return scanRows(rows, []any{&at.Topic, &at.Part, &now.Owner, &now.Seq}, func() { p.Owners[at] = now })
	})
	b.Queue(s.in(sqlWishes), topics(places), parts(places)).Query(func(rows pgx.Rows) error {
		var err error
		p.Wishes, err = collect(rows, func(r pgx.CollectableRow, w *Wish) error {
			return r.Scan(&w.Topic, &w.Part, &w.KeyID, &w.Kind, &w.Pos, &w.WantedAt)
		})
		return err
	})
	b.Queue(s.in(sqlReadbacks), topics(places), parts(places), readbacksMax).Query(func(rows pgx.Rows) error {
		var err error
		p.Readbacks, err = collect(rows, func(r pgx.CollectableRow, b *Readback) error {
			return r.Scan(&b.Topic, &b.Part, &b.EID, &b.Step, &b.Pos, &b.Round)
		})
		return err
	})
	if len(busy) > 0 {
		b.Queue(s.in(sqlStillClaimed), eids(busy), steps(busy)).Query(func(rows pgx.Rows) error {
			var id ID
			return scanRows(rows, []any{&id.EID, &id.Step}, func() { p.Open[id] = true })
		})
	}
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return p, fmt.Errorf("looking for wishes: %w", err)
	}
	return p, nil
}

func eids(ids []ID) [][16]byte { return col(ids, func(i ID) [16]byte { return i.EID }) }
func steps(ids []ID) []int64   { return col(ids, func(i ID) int64 { return i.Step }) }

// Owner reads a partition's token, for the fence before a call (protocol.md 28).
func (s *Store) Owner(ctx context.Context, p Place) (owner uuid.UUID, err error) {
	if err := s.pool.QueryRow(ctx, s.in(sqlOwner), p.Topic, p.Part).Scan(&owner); err != nil {
		return owner, fmt.Errorf("reading the owner of %s: %w", p, err)
	}
	return owner, nil
}

// QueuedRecords returns up to perKey open records of each key of a topic, in order.
func (s *Store) QueuedRecords(ctx context.Context, topic string, keyIDs []string, perKey int) ([]QueuedRecord, error) {
	rows, err := s.pool.Query(ctx, s.in(sqlQueuedRecords), topic, keyIDs, perKey)
	if err != nil {
		return nil, fmt.Errorf("reading the queue of %s: %w", topic, err)
	}
	records, err := collect(rows, scanRecord)
	if err != nil {
		return nil, fmt.Errorf("reading the queue of %s: %w", topic, err)
	}
	return records, nil
}

// QueuedAt returns which positions from first to last are in the queue, in whatever state: they are
// never handled live (protocol.md 39).
func (s *Store) QueuedAt(ctx context.Context, p Place, first, last int64) (map[int64]bool, error) {
	rows, err := s.pool.Query(ctx, s.in(sqlQueuedAt), p.Topic, p.Part, first, last)
	if err != nil {
		return nil, fmt.Errorf("reading the queued positions of %s: %w", p, err)
	}
	at := map[int64]bool{}
	var pos int64
	if err := scanRows(rows, []any{&pos}, func() { at[pos] = true }); err != nil {
		return nil, fmt.Errorf("reading the queued positions of %s: %w", p, err)
	}
	return at, nil
}

// Wake asks for everything that waits for one of scopes, in every partition of the group; parked
// keys wait for a person and stay. It returns how many keys. Anybody may call it, as often as they
// like: the partitions' owners do the rest (protocol.md 39).
func (s *Store) Wake(ctx context.Context, scopes ...verdict.Scope) (int64, error) {
	tag, err := s.pool.Exec(ctx, s.in(sqlWake), scopes)
	if err != nil {
		return 0, fmt.Errorf("waking what waits: %w", err)
	}
	return tag.RowsAffected(), nil
}
