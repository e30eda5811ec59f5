package consumers_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/consumers/consumerstest"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/stream/streamtest"
	"conveyance/internal/testkit"
	"conveyance/internal/verdict"
)

// recorder is a projection that remembers what it was given.
type recorder struct {
	batches [][]consumers.Placed
	err     error
}

func (r *recorder) Project(_ context.Context, _ pgx.Tx, batch []consumers.Placed) error {
	r.batches = append(r.batches, batch)
	return r.err
}

func projector(t *testing.T) (stream.BatchHandler, *recorder, *pgxpool.Pool) {
	t.Helper()
	pool, schema := testkit.Schema(t)
	m := postgres.Migrations{Schema: schema, Set: "engine", Files: ledger.Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	r := &recorder{}
	h, err := consumers.Batched(consumers.Destination{
		Name: "recorder", Projection: func(consumers.Deps) (consumers.Projection, error) { return r, nil },
	}, consumers.Deps{Pool: pool, Schema: schema})
	require.NoError(t, err)
	return h, r, pool
}

func records(events []event.Event) []*stream.Record {
	var out []*stream.Record
	for i, e := range events {
		out = append(out, streamtest.Record("deals.v1", int64(i), "k", e))
	}
	return out
}

func TestOnlyEventsThatTheLedgerHasNotSeenAreProjected(t *testing.T) {
	t.Parallel()
	h, r, pool := projector(t)
	life := consumerstest.Life(consumerstest.Tenant("", "", "{}"), 1)
	first, second := records(life[:4]), records(life[2:6])
	streamtest.MustHandle(t, h, pool, append(first, first[1])...) // a producer's duplicate
	streamtest.MustHandle(t, h, pool, second...)                  // read again after a crash, and further
	streamtest.MustHandle(t, h, pool, second...)
	require.Len(t, r.batches, 2, "nothing new, nothing called")
	require.Len(t, r.batches[0], 4)
	require.Len(t, r.batches[1], 2)
	require.Equal(t, life[4], r.batches[1][0].Message)
	require.Equal(t, int64(2), r.batches[1][0].Offset)
}

func TestEventWhoseProjectionIsRolledBackIsProjectedAgain(t *testing.T) {
	t.Parallel()
	h, r, pool := projector(t)
	life := records(consumerstest.Life(consumerstest.Tenant("", "", "{}"), 1)[:2])
	r.err = errors.New("the table is locked")
	_, err := streamtest.Handle(t.Context(), h, pool, life...)
	require.ErrorIs(t, err, r.err)
	r.err = nil
	streamtest.MustHandle(t, h, pool, life...)
	require.Len(t, r.batches, 2)
	require.Equal(t, r.batches[0], r.batches[1])
}

func TestSnapshotsAndDeliveriesAreKnownAgain(t *testing.T) {
	t.Parallel()
	h, r, pool := projector(t)
	at := consumerstest.Start
	resource := event.Resource{Tenant: "lakeshore", Vendor: "skyslope", Account: "main", Kind: "sale", ID: "1"}
	all := []*stream.Record{
		streamtest.Record("snapshots.skyslope.v1", 1, "k", &event.VendorSnapshot{Resource: resource, Token: 1, ReadAt: at, Digest: "a"}),
		streamtest.Record("snapshots.skyslope.v1", 2, "k", &event.VendorSnapshot{Resource: resource, Token: 2, ReadAt: at, Digest: "a"}),
		streamtest.Record("webhooks.docusign.v1", 1, "k", &event.WebhookReceived{Tenant: "lakeshore", DeliveryID: "d", ReceivedAt: at}),
	}
	streamtest.MustHandle(t, h, pool, all...)
	streamtest.MustHandle(t, h, pool, all...)
	require.Len(t, r.batches, 1)
	require.Len(t, r.batches[0], 3)
}

func TestEventWithoutAnIDParksAlone(t *testing.T) {
	t.Parallel()
	h, r, pool := projector(t)
	good := consumerstest.Life(consumerstest.Tenant("", "", "{}"), 1)[0]
	b := streamtest.MustHandle(t, h, pool,
		streamtest.Record("deals.v1", 0, "bad", &event.DealChanged{Origin: event.Origin{EventID: "seven"}}),
		streamtest.Record("deals.v1", 1, "good", good))
	require.Equal(t, verdict.Park, b.Results()[0].Verdict.Kind)
	require.Nil(t, b.Results()[1].Verdict)
	require.Len(t, r.batches, 1)
	require.Equal(t, good, r.batches[0][0].Message)
}
