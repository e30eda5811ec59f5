package translate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/stream"
	"conveyance/processors/link"
)

// errNoSnapshot means that nothing of a record was ever accepted.
var errNoSnapshot = errors.New("no snapshot of it is held")

// nudgedBy is what the timeline says led to a nudge.
const nudgedBy = "link"

// Publisher produces records and returns when they are acknowledged: stream.Publisher.
type Publisher interface {
	Publish(ctx context.Context, outs ...stream.Out) error
}

// Nudger has translate look at records again: it produces the last accepted snapshot once more, which
// is old news but for what was decided about the record and not told yet. It writes no table, so that
// the partition's owner alone acts (protocol.md 38).
type Nudger struct {
	store   store
	codec   *wire.Codec
	publish Publisher
}

var _ link.Nudger = (*Nudger)(nil)

// NewNudger returns a nudger over the tables in schema.
func NewNudger(pool *pgxpool.Pool, schema string, codec *wire.Codec, publish Publisher) *Nudger {
	return &Nudger{tables{pool, schema}, codec, publish}
}

// Nudge produces r's snapshot as it was accepted last, and returns when Kafka has it. Twice is once: the
// second finds nothing left to tell.
func (n *Nudger) Nudge(ctx context.Context, r event.Resource) error {
	key := r.Key()
	rows, err := n.store.load(ctx, []string{key})
	if err != nil {
		return err
	}
	if len(rows[key].body) == 0 {
		return fmt.Errorf("nudging %s: %w", key, errNoSnapshot)
	}
	value, err := unpack(rows[key].body)
	if err != nil {
		return fmt.Errorf("nudging %s: %w", key, err)
	}
	m, err := n.codec.Decode(ctx, value)
	if err != nil {
		return fmt.Errorf("nudging %s: %w", key, err)
	}
	out := stream.Out{Topic: topic.Snapshots(r.Vendor), Key: []byte(key), Message: m, Headers: []stream.Header{
		{Key: event.HeaderHintBy, Value: []byte(nudgedBy)},
		{Key: event.HeaderHintTime, Value: time.Now().UTC().AppendFormat(nil, time.RFC3339Nano)},
	}}
	if err := n.publish.Publish(ctx, out); err != nil {
		return fmt.Errorf("nudging %s: %w", key, err)
	}
	return nil
}
