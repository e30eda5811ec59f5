package ingest

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/stream"
	"conveyance/internal/testkit"
	"conveyance/producers"
)

// real puts deliveries on a broker, as cmd/conveyance does.
type real struct{ p *stream.Publisher }

func (r real) Publish(ctx context.Context, key string, w *event.WebhookReceived, done func(error)) error {
	return r.p.Send(ctx, stream.Out{Topic: topic.Webhooks(w.Vendor), Key: []byte(key), Message: w}, done)
}

func TestEveryAcceptedDeliveryIsInTheLogThoughKafkaGoesAway(t *testing.T) {
	t.Parallel()
	const prefix = "test."
	name := prefix + topic.Webhooks("acme")
	kafka := testkit.Kafka(t, 3, name)
	codec, err := wire.New(wire.Config{Prefix: prefix})
	require.NoError(t, err)
	seeds := []kgo.Opt{kgo.SeedBrokers(kafka.ListenAddrs()...)}
	p, err := stream.NewPublisher(prefix, stream.Deps{Kafka: seeds, Codec: codec, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	require.NoError(t, err)
	h := build(t, twoBrokerages(), func(_ *Config, d *Deps) {
		d.Publish = real{p}
		d.Vendors = []producers.Vendor{{Name: "acme", Webhook: acme{}, Answer: answerMargin + testkit.Patience}} // answerMax holds
	})
	t.Cleanup(p.Close) // before the wait for what is in flight
	accepted := map[string]string{}
	for i := range 50 {
		id := fmt.Sprintf("d-%d", i)
		body := bodyOf(id, "A-1")
		require.Equal(t, http.StatusOK, h.deliver(body).StatusCode)
		accepted[id] = body
	}
	cl, err := kgo.NewClient(append(seeds, kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	for len(accepted) > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err0())
		for _, r := range fetches.Records() {
			m, err := codec.Decode(ctx, r.Value)
			require.NoError(t, err)
			w, ok := m.(*event.WebhookReceived)
			require.True(t, ok)
			require.Equal(t, accepted[w.DeliveryID], string(w.Body))
			require.Equal(t, "lakeshore/acme/main/"+w.DeliveryID, string(r.Key))
			delete(accepted, w.DeliveryID)
		}
	}

	kafka.Close()
	h.vendors["acme"] = producers.Vendor{Name: "acme", Webhook: acme{}, Answer: answerMargin + 200*time.Millisecond}
	began := time.Now()
	require.Equal(t, http.StatusServiceUnavailable, h.deliver(bodyOf("late", "A-1")).StatusCode)
	require.Less(t, time.Since(began), answerMargin+200*time.Millisecond, "within the vendor's deadline")
	require.EqualValues(t, 1, h.records.used.Load(), "left in flight")
	p.Close()
	h.flying.Wait()
	require.Equal(t, 1, h.count(t, "late:unknown"))
}
