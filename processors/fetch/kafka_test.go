package fetch

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/stream"
	"conveyance/internal/testkit"
)

func TestSnapshotIsInKafkaWhenTheRowIsClean(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	full := topic.PrefixDefault + topic.Snapshots("acme")
	seeds := kgo.SeedBrokers(testkit.Kafka(t, 3, full).ListenAddrs()...)
	codec, err := wire.New(wire.Config{Prefix: topic.PrefixDefault})
	require.NoError(t, err)
	p, err := stream.NewPublisher(topic.PrefixDefault, stream.Deps{Kafka: []kgo.Opt{seeds}, Codec: codec, Log: testkit.Log(t)})
	require.NoError(t, err)
	defer p.Close()
	b.publish = p
	b.vendor.set(sale("1"), state{version: 7, body: "a"})
	b.hint(t, sale("1"))
	asked := b.clock.now()
	b.clock.pass(time.Second)
	b.workers(t)
	b.eventually(t, func() bool { return b.why(t, sale("1")).State == StateClean })

	reader, err := kgo.NewClient(seeds, kgo.ConsumeTopics(full), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer reader.Close()
	fetches := reader.PollFetches(t.Context())
	require.NoError(t, fetches.Err())
	require.Equal(t, 1, fetches.NumRecords())
	r := fetches.Records()[0]
	require.Equal(t, sale("1").Key(), string(r.Key))
	m, err := codec.Decode(t.Context(), r.Value)
	require.NoError(t, err)
	s := m.(*event.VendorSnapshot)
	require.Equal(t, sale("1"), s.Resource)
	require.EqualValues(t, 7, s.Version)
	require.Equal(t, "a", string(s.Parts[0].Body))
	require.Contains(t, r.Headers, kgo.RecordHeader{Key: "ce_id", Value: []byte(strconv.FormatInt(s.Token, 10))})
	for _, h := range hinted(stream.Out{}, "test", asked).Headers {
		require.Contains(t, r.Headers, kgo.RecordHeader(h))
	}
}

func TestLargestSnapshotFitsItsTopic(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	full := topic.PrefixDefault + topic.Snapshots("acme")
	seeds := kgo.SeedBrokers(testkit.Kafka(t, 1, full).ListenAddrs()...)
	codec, err := wire.New(wire.Config{Prefix: topic.PrefixDefault})
	require.NoError(t, err)
	p, err := stream.NewPublisher(topic.PrefixDefault, stream.Deps{Kafka: []kgo.Opt{seeds}, Codec: codec, Log: testkit.Log(t)})
	require.NoError(t, err)
	defer p.Close()
	b.publish = p
	body := make([]byte, snapshotBytesMax)
	b.vendor.set(sale("over"), state{version: 1, body: string(body)})
	over := state{version: 1}.snapshot(sale("full"))
	b.vendor.set(sale("full"), state{version: 1, body: string(body[:snapshotBytesMax-snapshotBytes(&over)])})
	b.hint(t, sale("full"), sale("over"))
	require.ElementsMatch(t, []string{outcomeEmitted, outcomePark}, b.run(t))
	require.Equal(t, StateClean, b.why(t, sale("full")).State)
}
