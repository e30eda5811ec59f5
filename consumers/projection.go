package consumers

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/verdict"
)

// Batched returns a projection's destination as a handler of the engine: what the ledger has not
// seen is projected, in the transaction that moves the offset (protocol.md 12). Tenants, pauses and
// go-live do not concern tables of ours: they hold the past, too.
func Batched(d Destination, deps Deps) (stream.BatchHandler, error) {
	p, err := d.Projection(deps)
	if err != nil {
		return nil, fmt.Errorf("making projection %s: %w", d.Name, err)
	}
	return &projector{projection: p, schema: deps.Schema}, nil
}

type projector struct {
	projection Projection
	schema     string
}

func (p *projector) Handle(_ context.Context, b *stream.Batch) error {
	var rows []ledger.Row
	var placed []Placed
	for i, r := range b.Records() {
		id, err := identity(r.Message)
		if err != nil {
			b.Give(i, verdict.Parked("event id is not a UUID", err))
			continue
		}
		rows = append(rows, ledger.Row{EID: id, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset})
		placed = append(placed, Placed{
			Message: r.Message, Time: r.Time, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Headers: r.Headers,
		})
	}
	if len(rows) == 0 {
		return nil
	}
	b.Commit(func(ctx context.Context, tx pgx.Tx) error {
		fresh, err := ledger.Fresh(ctx, tx, p.schema, rows)
		if err != nil {
			return postgres.Classify(err)
		}
		batch := make([]Placed, 0, len(placed))
		for i, r := range placed {
			if fresh[i] {
				batch = append(batch, r)
			}
		}
		if len(batch) == 0 {
			return nil
		}
		return p.projection.Project(ctx, tx, batch)
	})
	return nil
}

// identity is a message's id in the ledger: an event's own, and for what has none what the engine
// would find again after a redelivery.
func identity(m event.Message) (uuid.UUID, error) {
	switch m := m.(type) {
	case event.Event:
		return uuid.Parse(m.Source().EventID)
	case *event.VendorSnapshot:
		return event.ID(m.ReadAt, m.Resource, m.Token, m.Type(), m.Digest), nil
	case *event.WebhookReceived:
		r := event.Resource{Tenant: m.Tenant, Vendor: m.Vendor, Account: m.Account, Kind: "delivery", ID: m.DeliveryID}
		return event.ID(m.ReceivedAt, r, 0, m.Type(), ""), nil
	}
	return uuid.Nil, fmt.Errorf("%s has no id", m.Type())
}
