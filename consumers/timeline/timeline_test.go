package timeline_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/consumers/consumerstest"
	"conveyance/consumers/timeline"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/testkit"
)

// story is the life of some deals on every topic that the timeline knows.
func story(deals int) []consumers.Placed {
	t := consumerstest.Tenant("", "", "{}")
	out := consumerstest.Place(consumerstest.Life(t, deals))
	r := event.Resource{Tenant: t.ID, Vendor: "skyslope", Account: "main", Kind: "sale", ID: "100"}
	envelope := event.Resource{Tenant: t.ID, Vendor: "docusign", Account: "main", Kind: "envelope", ID: "e-1"}
	key, late := r.Key(), consumerstest.Start.Add(3*time.Hour)
	origin := func(revision int64) event.Origin {
		return event.Origin{
			EventID:  event.ID(late, envelope, revision, event.TypeResourceLinked, "").String(),
			Resource: envelope, Revision: revision, ReadAt: late,
		}
	}
	return append(out,
		consumers.Placed{Topic: "webhooks.docusign.v1", Offset: 4, Message: &event.WebhookReceived{
			Tenant: t.ID, Vendor: "docusign", Account: "main",
			DeliveryID: "d", ReceivedAt: consumerstest.Start, Body: []byte("{}"),
		}},
		consumers.Placed{Topic: "snapshots.skyslope.v1", Partition: 2, Offset: 9, Message: &event.VendorSnapshot{
			Resource: r, Version: 1_772_463_600_000, Token: 7, ReadAt: consumerstest.Start.Add(2*time.Hour + time.Minute),
			Parts: []event.Part{{Name: "sale", Body: []byte(`{"saleGuid":"100"}`)}},
		}, Headers: []stream.Header{
			{Key: event.HeaderHintBy, Value: []byte("poll")},
			{Key: event.HeaderHintTime, Value: []byte("2026-03-02T17:00:59.5Z")},
		}},
		consumers.Placed{Topic: "snapshots.skyslope.v1", Partition: 2, Offset: 10, Message: &event.VendorSnapshot{
			Resource: r, Token: 9, ReadAt: consumerstest.Start.Add(4 * time.Hour), Gone: true,
		}},
		consumers.Placed{Time: late, Topic: "links.v1", Offset: 0, Message: &event.ResourceLinked{
			Origin: origin(1), DealKey: key, Rung: event.LinkRungTwoEmails,
		}},
		consumers.Placed{Time: late, Topic: "links.v1", Offset: 1, Message: &event.ResourceUnlinked{
			Origin: origin(2), DealKey: key,
		}},
		consumers.Placed{Time: late, Topic: "deals.v1", Partition: 1, Offset: 0, Message: &event.DocumentSigned{
			Origin: origin(3), DealKey: &key, EnvelopeComplete: true,
		}},
	)
}

func TestSuite(t *testing.T) {
	t.Parallel()
	consumerstest.ProjectionSuite{
		New:        func(schema string) consumers.Projection { return timeline.New(schema) },
		Migrations: timeline.Migrations(),
		Records:    story(3),
		Tables:     []string{"entry", "deal"},
		Arrival:    []string{"id"},
	}.Run(t)
}

func open(t *testing.T, records ...consumers.Placed) (*pgxpool.Pool, string) {
	pool, schema := testkit.Schema(t)
	consumerstest.Migrate(t, schema, timeline.Migrations())
	if len(records) > 0 {
		require.NoError(t, postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error {
			return timeline.New(schema).Project(t.Context(), tx, records)
		}))
	}
	return pool, schema
}

func TestDealIsToldInOrderAndWithoutPersonalData(t *testing.T) {
	t.Parallel()
	records := story(1)
	pool, schema := open(t, records...)
	entries, err := timeline.Deal(t.Context(), pool, schema, "lakeshore/skyslope/main/sale/100")
	require.NoError(t, err)
	var lines []string
	for i := range entries {
		entries[i].ID = 0
		lines = append(lines, entries[i].Line)
	}
	consumerstest.Golden(t, "testdata/deal.golden.json", entries)
	text := strings.ToLower(strings.Join(lines, "\n"))
	for _, personal := range []string{"nora", "sam100", "weller", "harbor", "chicago", "quill", "@", "555"} {
		require.NotContains(t, text, personal)
	}
}

func TestVendorsWordIsShortAndPrintable(t *testing.T) {
	t.Parallel()
	d := consumerstest.NewDeal(consumerstest.Tenant("", "", "{}"), "100")
	d.VendorStatus = "Pen\x00ding\n\xff" + strings.Repeat("é", 100)
	pool, schema := open(t, consumerstest.Place(d.Tell())...)
	entries, err := timeline.Since(t.Context(), pool, schema, 0)
	require.NoError(t, err)
	last := entries[len(entries)-1].Line
	require.True(t, strings.HasPrefix(last, "Pendingé"), last)
	require.Less(t, len(last), 80)
}

func TestDealIsFoundByKeyPrefixAndVendorsID(t *testing.T) {
	t.Parallel()
	pool, schema := open(t, story(3)...)
	const all = "lakeshore/skyslope/main/sale/"
	for text, want := range map[string][]string{
		"lakeshore/skyslope/main/sale/200": {"lakeshore/skyslope/main/sale/200"},
		"200":                              {"lakeshore/skyslope/main/sale/200"},
		"lakeshore/sky":                    {all + "100", all + "200", all + "300"},
		"3":                                {"lakeshore/skyslope/main/sale/300"},
		"%":                                {},
		"redrock/":                         {},
	} {
		got, err := timeline.Find(t.Context(), pool, schema, text)
		require.NoError(t, err)
		require.ElementsMatch(t, want, got, text)
	}
}

func TestFollowerMissesNoEntryOfASlowerTransaction(t *testing.T) {
	t.Parallel()
	pool, schema := open(t)
	line := timeline.New(schema)
	records := story(2)
	slow, err := pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = slow.Rollback(context.Background()) })
	require.NoError(t, line.Project(t.Context(), slow, records[:1]))
	done := make(chan error, 1)
	go func() {
		done <- postgres.Tx(t.Context(), pool, func(tx pgx.Tx) error { return line.Project(t.Context(), tx, records[1:]) })
	}()
	waiting := `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
	               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	require.Eventually(t, func() bool {
		var n int
		return pool.QueryRow(t.Context(), waiting).Scan(&n) == nil && n > 0
	}, testkit.Patience, testkit.Look)
	seen, err := timeline.Since(t.Context(), pool, schema, 0)
	require.NoError(t, err)
	require.Empty(t, seen)
	require.NoError(t, slow.Commit(t.Context()))
	require.NoError(t, <-done)
	seen, err = timeline.Since(t.Context(), pool, schema, 0)
	require.NoError(t, err)
	require.Len(t, seen, len(records)+1, "and a hint")
	require.Equal(t, records[0].Offset, seen[0].Offset)
	last, err := timeline.Last(t.Context(), pool, schema)
	require.NoError(t, err)
	require.Equal(t, seen[len(seen)-1].ID, last)
	rest, err := timeline.Since(t.Context(), pool, schema, seen[2].ID)
	require.NoError(t, err)
	require.Equal(t, seen[3:], rest)
}
