package translate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/stream"
	"conveyance/internal/stream/streamtest"
	"conveyance/producers"
	"conveyance/producers/skyslope"
)

// BenchmarkHandle translates full deals of SkySlope whose price, or status and commission, changed,
// in batches of 500 different ones, from bytes to bytes and without I/O. bare decodes the same
// snapshots and encodes the same events. ratio is ours to bare, in records a second.
func BenchmarkHandle(b *testing.B) {
	const records = 500
	vendor, err := skyslope.New(producers.Deps{})
	require.NoError(b, err)
	tr := onShelf(b, newShelf(), vendor)
	cases := [][]byte{sale(b, "pending"), sale(b, "closed")}
	agents, err := os.ReadFile("../../producers/skyslope/testdata/closed/agents.json")
	require.NoError(b, err)

	var token int64
	snapshots := func() []*stream.Record {
		out := make([]*stream.Record, records)
		for i := range out {
			token++
			body := bytes.Replace(cases[(token/records)%2], []byte("449500"), fmt.Appendf(nil, "%d", 400000+token%90000), 1)
			s := &event.VendorSnapshot{
				Resource: event.Resource{Tenant: "lakeshore", Vendor: "skyslope", Account: "main", Kind: "sale", ID: strconv.Itoa(i)},
				Version:  token, Token: token, ReadAt: time.UnixMilli(1772000000000 + token).UTC(), Lane: "live",
				Parts: []event.Part{{Name: "sale", Status: 200, Body: body}, {Name: "agents", Status: 200, Body: agents}},
			}
			s.Digest = producers.Digest(s.Parts)
			value, err := tr.codec.AppendEncode(context.Background(), nil, topic.Snapshots("skyslope"), s)
			require.NoError(b, err)
			out[i] = streamtest.Record(topic.Snapshots("skyslope"), token, s.Resource.Key(), nil)
			out[i].Value = value
		}
		return out
	}
	var scratch []byte
	decode := func(rs []*stream.Record) {
		for _, r := range rs {
			m, err := tr.codec.Decode(context.Background(), r.Value)
			require.NoError(b, err)
			r.Message = m
		}
	}
	encode := func(outs []stream.Out) {
		for _, o := range outs {
			var err error
			scratch, err = tr.codec.AppendEncode(context.Background(), scratch[:0], o.Topic, o.Message)
			require.NoError(b, err)
		}
	}
	handle := func(rs []*stream.Record) []stream.Out {
		batch := stream.NewBatchOf(rs[0].Topic, 0, rs...)
		require.NoError(b, tr.Handle(context.Background(), batch))
		require.NoError(b, batch.Write(context.Background(), nil))
		return streamtest.Outs(batch)
	}
	first := snapshots()
	decode(first)
	handle(first)

	var ours, bare time.Duration // of the processor: other load on the machine counts for neither
	events := 0
	for b.Loop() {
		b.StopTimer()
		rs := snapshots()
		b.StartTimer()
		start := processor(b)
		decode(rs)
		outs := handle(rs)
		encode(outs)
		ours += processor(b) - start
		b.StopTimer()
		start = processor(b)
		decode(rs)
		encode(outs)
		bare += processor(b) - start
		events += len(outs)
		b.StartTimer()
	}
	b.ReportMetric(float64(bare)/float64(ours), "ratio")
	b.ReportMetric(float64(b.N*records)/ours.Seconds(), "records/s")
	b.ReportMetric(float64(events)/float64(b.N*records), "events/record")
}

// processor is the time that this process has used, collecting garbage included.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func sale(b *testing.B, name string) []byte {
	b.Helper()
	body, err := os.ReadFile("../../producers/skyslope/testdata/" + name + "/sale.json")
	require.NoError(b, err)
	var compact bytes.Buffer
	require.NoError(b, json.Compact(&compact, body)) // as the vendor sends it
	return compact.Bytes()
}
