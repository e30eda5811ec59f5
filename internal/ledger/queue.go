package ledger

import (
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/verdict"
)

// Kind says what ends the waiting of a key.
type Kind int16

// The kinds of queued keys.
const (
	Waiting   Kind = 1 + iota // the clock
	HeldScope                 // its scope, when it heals or is resumed
	ParkedKey                 // a person
)

var kinds = map[Kind]string{Waiting: "waiting", HeldScope: "held", ParkedKey: "parked"}

func (k Kind) String() string { return kinds[k] }

// MarshalText writes waiting, held or parked.
func (k Kind) MarshalText() ([]byte, error) { return []byte(kinds[k]), nil }

// RecordState is the state of a queued record.
type RecordState int16

// The states of a queued record.
const (
	RecordOpen RecordState = 1 + iota
	RecordDone
	RecordDropped
)

// WishKind is what a person asks for a key.
type WishKind int16

// The wishes.
const (
	Release   WishKind = 1 + iota // try again
	Drop                          // give the first record up
	InPlaceOK                     // the first record's unknown effect is in place
	SendAgain                     // send the first record's unknown effect again
)

// QueuedKey is a key whose records wait, and for what. The owner of its partition alone writes it.
type QueuedKey struct {
	Place
	KeyID    string
	Tenant   string
	Kind     Kind
	Scope    verdict.Scope
	Cause    string
	Detail   string
	Since    time.Time
	Due      time.Time // zero = never by itself
	Count    int64     // open records
	Attempts int       // of the first open record
	WantedAt time.Time // the last wish that the owner knows of
	Obeyed   time.Time // the wish that writing the row ends; zero = none, any other stays
}

func scanKey(r pgx.CollectableRow, k *QueuedKey) error {
	var due *time.Time
	err := r.Scan(&k.Topic, &k.Part, &k.KeyID, &k.Tenant, &k.Kind, &k.Scope, &k.Cause, &k.Detail, &k.Since, &due,
		&k.Count, &k.Attempts)
	k.Due = or(due)
	return err
}

// QueuedRecord is a raw record in the queue.
type QueuedRecord struct {
	Place
	Pos      int64
	KeyID    string
	Key      []byte
	Value    []byte
	Headers  []Header
	At       time.Time
	Cause    string
	Attempts int
}

// Header is a record header; its value is base64 in JSON.
type Header struct {
	Key   string `json:"k"`
	Value []byte `json:"v"`
}

func scanRecord(r pgx.CollectableRow, q *QueuedRecord) error {
	var headers []byte
	err := r.Scan(&q.Topic, &q.Part, &q.Pos, &q.KeyID, &q.Key, &q.Value, &headers, &q.At, &q.Cause, &q.Attempts)
	if err != nil {
		return err
	}
	return json.Unmarshal(headers, &q.Headers)
}

func (s *Store) queueKeys(b *pgx.Batch, r []QueuedKey) {
	b.Queue(s.in(sqlKey), topics(r),
		col(r, func(k QueuedKey) string { return k.KeyID }), parts(r),
		col(r, func(k QueuedKey) string { return clean(k.Tenant) }),
		col(r, func(k QueuedKey) Kind { return k.Kind }),
		col(r, func(k QueuedKey) string { return clean(string(k.Scope)) }),
		col(r, func(k QueuedKey) string { return clean(k.Cause) }),
		col(r, func(k QueuedKey) string { return clean(k.Detail) }),
		col(r, func(k QueuedKey) *time.Time { return orNil(k.Due) }),
		col(r, func(k QueuedKey) int64 { return k.Count }),
		col(r, func(k QueuedKey) *time.Time { return orNil(k.Obeyed) }))
}

func (s *Store) queueRecords(b *pgx.Batch, r []QueuedRecord) {
	b.Queue(s.in(sqlRecord), topics(r), parts(r),
		col(r, func(q QueuedRecord) int64 { return q.Pos }),
		col(r, func(q QueuedRecord) string { return q.KeyID }),
		col(r, func(q QueuedRecord) []byte { return q.Key }),
		col(r, func(q QueuedRecord) []byte { return q.Value }),
		col(r, func(q QueuedRecord) string { return headersJSON(q.Headers) }),
		col(r, func(q QueuedRecord) time.Time { return q.At }),
		col(r, func(q QueuedRecord) string { return clean(q.Cause) }),
		col(r, func(q QueuedRecord) int { return q.Attempts }))
}

func headersJSON(headers []Header) string {
	kept := make([]Header, len(headers))
	for i, h := range headers {
		kept[i] = Header{Key: clean(h.Key), Value: h.Value}
	}
	out, err := json.Marshal(kept)
	if err != nil {
		return "[]" // strings and bytes always encode
	}
	return string(out)
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
