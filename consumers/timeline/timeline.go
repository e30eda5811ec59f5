// Package timeline keeps the story of every deal as lines that people read: which hint came, which
// fact was read, what it meant, each with its place in the log. It projects every topic that it is
// given; trace, why, the story of up and replay by deal read it. Effects are not on a topic: readers
// add them from the adapters' ledgers.
//
// A line holds no personal data: statuses, amounts, names of fields, counts.
package timeline

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/internal/postgres"
)

// Name is the destination's one name.
const Name = "timeline"

// The kinds of an entry.
const (
	Hint    = "hint"
	Fact    = "fact"
	Meaning = "meaning"
	Effect  = "effect" // of readers that add ledgers
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the timeline's tables.
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

// Destination is what this folder offers; the register adds what it reads.
func Destination() consumers.Destination {
	return consumers.Destination{
		Name: Name, Migrations: Migrations(),
		Projection: func(d consumers.Deps) (consumers.Projection, error) { return New(d.Schema), nil },
	}
}

// Entry is one step of a story.
type Entry struct {
	ID        int64      `json:"id,omitempty"` // rises; what Since takes
	Tenant    string     `json:"tenant"`
	DealKey   string     `json:"deal"`
	At        time.Time  `json:"at"`
	Kind      string     `json:"kind"`
	Topic     string     `json:"topic"`
	Partition int32      `json:"partition"`
	Offset    int64      `json:"offset"`
	EventID   *uuid.UUID `json:"event_id"`
	Version   int64      `json:"version"`
	Line      string     `json:"line"`
}

// Timeline is a consumers.Projection. It is safe for concurrent use.
type Timeline struct{ lock, entries, deals string }

// New returns a projection into the tables of a schema.
func New(schema string) *Timeline {
	return &Timeline{
		lock:    postgres.In(schema, sqlLock),
		entries: postgres.In(schema, sqlEntries),
		deals:   postgres.In(schema, sqlDeals),
	}
}

// Project writes an entry per record, and before that of a fact one of the hint that led to it, in
// one round trip. Entries of several partitions become
// visible one transaction after the other, in the order of their ids: each holds a lock from here
// to its commit, which is the next thing that its owner does.
func (t *Timeline) Project(ctx context.Context, tx pgx.Tx, batch []consumers.Placed) error {
	var c columns
	for _, p := range batch {
		if e, ok := entry(p); ok {
			if h, ok := hintOf(p, e); ok {
				c.add(h)
			}
			c.add(e)
		}
	}
	if len(c.topic) == 0 {
		return nil
	}
	var b pgx.Batch
	b.Queue(t.lock)
	b.Queue(t.deals, c.dealKey, c.tenant, c.sourceID)
	b.Queue(t.entries, c.tenant, c.dealKey, c.at, c.kind, c.topic, c.partition, c.offset, c.eventID, c.version, c.line)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("writing %d entries: %w", len(c.topic), postgres.Classify(err))
	}
	return nil
}

// entry is a record as a step of a story; false where it tells nothing that this build knows.
func entry(p consumers.Placed) (Entry, bool) {
	e := Entry{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset}
	switch m := p.Message.(type) {
	case *event.WebhookReceived:
		e.Kind, e.Tenant, e.At = Hint, m.Tenant, m.ReceivedAt
		e.Line = fmt.Sprintf("%s delivered %d bytes", m.Vendor, len(m.Body))
	case *event.VendorSnapshot:
		e.Kind, e.Tenant, e.At = Fact, m.Resource.Tenant, m.ReadAt
		e.DealKey, e.Version, e.Line = m.Resource.Key(), m.Version, snapshotLine(m)
	case event.Event:
		o := m.Source()
		id, err := uuid.Parse(o.EventID)
		if err != nil {
			return e, false
		}
		e.Kind, e.Tenant, e.At, e.EventID, e.Version = Meaning, o.Resource.Tenant, p.Time, &id, o.Revision
		e.DealKey, e.Line = dealKey(m), line(m)
	default:
		return e, false
	}
	return e, true
}

// hintOf is the hint that led to a fact, as the record's headers tell it; false where they do not.
func hintOf(p consumers.Placed, fact Entry) (Entry, bool) {
	m, ok := p.Message.(*event.VendorSnapshot)
	if !ok {
		return Entry{}, false
	}
	e, by := fact, ""
	for _, h := range p.Headers {
		switch h.Key {
		case event.HeaderHintBy:
			by = string(h.Value)
		case event.HeaderHintTime:
			at, err := time.Parse(time.RFC3339Nano, string(h.Value))
			e.At, ok = at, err == nil && !at.IsZero()
		}
	}
	e.Kind, e.Version = Hint, 0
	e.Line = fmt.Sprintf("%s %s may have changed: %s", m.Resource.Vendor, m.Resource.Kind, word(by))
	return e, ok && by != ""
}

// columns are entries as Postgres takes them, one array each.
type columns struct {
	tenant, dealKey, sourceID, kind, topic, line []string
	at                                           []time.Time
	partition                                    []int32
	offset, version                              []int64
	eventID                                      []*uuid.UUID
}

func (c *columns) add(e Entry) {
	source, err := event.ParseKey(e.DealKey)
	if err != nil {
		source.ID = "" // a delivery: under no deal
	}
	if y := e.At.Year(); y < 1 || y > 9999 {
		e.At = time.Time{} // Postgres has no such time, and a vendor's clock is not to be trusted
	}
	c.tenant, c.dealKey = append(c.tenant, e.Tenant), append(c.dealKey, e.DealKey)
	c.sourceID = append(c.sourceID, source.ID)
	c.kind, c.topic, c.line = append(c.kind, e.Kind), append(c.topic, e.Topic), append(c.line, e.Line)
	c.at, c.partition, c.offset = append(c.at, e.At), append(c.partition, e.Partition), append(c.offset, e.Offset)
	c.version, c.eventID = append(c.version, e.Version), append(c.eventID, e.EventID)
}
