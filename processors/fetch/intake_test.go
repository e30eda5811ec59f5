package fetch

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/stream"
	"conveyance/internal/stream/streamtest"
	"conveyance/internal/verdict"
)

// delivered makes the record of a delivery to lakeshore.
func deliver(t *testing.T, offset int64, d delivery) *stream.Record {
	t.Helper()
	body, err := json.Marshal(d)
	require.NoError(t, err)
	return streamtest.Record(topic.Webhooks("acme"), offset, "main/"+time.Duration(offset).String(), &event.WebhookReceived{
		Tenant: "lakeshore", Vendor: "acme", Account: "main", DeliveryID: time.Duration(offset).String(), Body: body,
		ReceivedAt: time.Date(2026, 3, 2, 8, 59, 0, 0, time.UTC),
	})
}

func TestDeliveriesMakeTheRecordsTheyNameDirtyOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	batch := streamtest.MustHandle(t, b.Intake(), b.store.pool,
		deliver(t, 1, delivery{IDs: []string{"1", "2"}}), deliver(t, 2, delivery{IDs: []string{"2"}, Account: "ext-lakeshore"}))
	require.Empty(t, streamtest.Outs(batch))
	require.Len(t, b.takeAll(t), 2)
	require.Equal(t, "webhook", b.why(t, sale("2")).HintedBy)
}

func TestBatchHandledAgainAfterACrashIsOneMoreRead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.vendor.set(sale("1"), state{version: 1, body: "a"})
	for range 2 {
		streamtest.MustHandle(t, b.Intake(), b.store.pool, deliver(t, 1, delivery{IDs: []string{"1"}}))
		b.run(t)
	}
	require.Len(t, b.log.all(), 1)
	require.Len(t, b.vendor.called(), 2)
}

func TestRecordInADeliveryIsEmittedWithATokenAndHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := deliver(t, 1, delivery{IDs: []string{"1", "2"}, Version: 5, Record: "a"})
	outs := streamtest.Outs(streamtest.MustHandle(t, b.Intake(), b.store.pool, d))
	require.Len(t, outs, 1)
	s := outs[0].Message.(*event.VendorSnapshot)
	require.Equal(t, topic.Snapshots("acme"), outs[0].Topic)
	require.Equal(t, sale("1").Key(), string(outs[0].Key))
	require.Equal(t, sale("1"), s.Resource)
	require.Positive(t, s.Token)
	require.Equal(t, "live", s.Lane)
	require.Equal(t, d.Message.(*event.WebhookReceived).ReceivedAt, s.ReadAt)
	require.Equal(t, hinted(stream.Out{}, "webhook", s.ReadAt).Headers, outs[0].Headers)
	require.Equal(t, StateClean, b.why(t, sale("1")).State)
	require.EqualValues(t, 5, b.why(t, sale("1")).Version)
	require.Equal(t, StateDue, b.why(t, sale("2")).State)

	again := streamtest.MustHandle(t, b.Intake(), b.store.pool, d)
	require.Empty(t, streamtest.Outs(again), "the vendor sent it twice")
	require.Equal(t, StateClean, b.why(t, sale("1")).State)
}

func TestRecordInADeliveryWhoseBatchDiedIsRead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := deliver(t, 1, delivery{IDs: []string{"1"}, Version: 5, Record: "a"})
	dead := stream.NewBatchOf(d.Topic, d.Partition, d)
	require.NoError(t, b.Intake().Handle(t.Context(), dead)) // produced or not, never committed
	require.Len(t, streamtest.Outs(dead), 1)
	require.Equal(t, StateClean, b.why(t, sale("1")).State)
	require.Empty(t, streamtest.Outs(streamtest.MustHandle(t, b.Intake(), b.store.pool, d)))
	b.vendor.set(sale("1"), state{version: 5, body: "a"})
	require.Equal(t, []string{outcomeEmitted}, b.run(t))
}

func TestDeliveriesThatMakeNoSenseSayWhy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	garbled := deliver(t, 1, delivery{})
	garbled.Message.(*event.WebhookReceived).Body = []byte("<html>")
	stranger := deliver(t, 2, delivery{IDs: []string{"1"}, Account: "ext-redrock"})
	nobody := deliver(t, 3, delivery{IDs: []string{"1"}})
	nobody.Message.(*event.WebhookReceived).Tenant = "nobody"
	foreign := deliver(t, 4, delivery{IDs: []string{"1"}})
	foreign.Message.(*event.WebhookReceived).Vendor = "other"
	wrong := deliver(t, 5, delivery{})
	wrong.Message = &event.VendorSnapshot{}
	good := deliver(t, 6, delivery{IDs: []string{"6"}})
	batch := streamtest.MustHandle(t, b.Intake(), b.store.pool, garbled, stranger, nobody, foreign, wrong, good)
	var got []verdict.Kind
	for _, r := range batch.Results() {
		if r.Verdict == nil {
			got = append(got, verdict.Done)
			continue
		}
		got = append(got, r.Verdict.Kind)
	}
	require.Equal(t, []verdict.Kind{verdict.Park, verdict.Park, verdict.Hold, verdict.Park, verdict.Skip, verdict.Done}, got)
	jobs := b.takeAll(t)
	require.Len(t, jobs, 1)
	require.Equal(t, sale("6"), jobs[0].resource)
}
