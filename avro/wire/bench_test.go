package wire

import (
	"slices"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
)

// bench is a codec and bare hamba on the same messages of one type, as a deal's events look.
type bench struct {
	codec    *Codec
	api      avro.API
	schema   *avro.RecordSchema
	typ      event.Type
	messages []event.Message
	values   [][]byte
}

func newBench(b *testing.B, typ event.Type) *bench {
	b.Helper()
	g := newGenerator(b, 23)
	x := &bench{codec: newCodec(b), api: frozen(), schema: g.schemas[typ], typ: typ}
	for range 64 {
		m := g.message(typ)
		value, err := x.codec.AppendEncode(b.Context(), nil, topicOf, m)
		require.NoError(b, err)
		x.messages, x.values = append(x.messages, m), append(x.values, value)
	}
	return x
}

// measure runs ours and bare hamba in short turns, so that both meet the same load, and reports the
// median turn: ns/op of ours, and how much of bare hamba's speed is left (1 is as fast).
func measure(b *testing.B, ours, bare func(i int)) {
	b.Helper()
	const turn = 64
	b.ReportAllocs()
	b.ResetTimer()
	var mine, ratios []float64
	for i := 0; i < b.N; i += turn {
		c := clock(i, turn, bare)
		a := clock(i, turn, ours)
		mine, ratios = append(mine, a/turn), append(ratios, c/a)
	}
	slices.Sort(mine)
	slices.Sort(ratios)
	b.ReportMetric(mine[len(mine)/2], "ns/op")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}

func clock(from, n int, f func(i int)) float64 {
	started := time.Now()
	for i := from; i < from+n; i++ {
		f(i)
	}
	return float64(time.Since(started))
}

func BenchmarkDecode(b *testing.B) {
	for _, typ := range []event.Type{event.TypeDealChanged, event.TypeContactChanged, event.TypeWebhookReceived} {
		b.Run(string(typ), func(b *testing.B) {
			x := newBench(b, typ)
			bare := avro.NewReader(nil, 0, avro.WithReaderConfig(x.api))
			measure(b, func(i int) {
				if _, err := x.codec.Decode(b.Context(), x.values[i%len(x.values)]); err != nil {
					b.Fatal(err)
				}
			}, func(i int) {
				m, _ := event.New(x.typ)
				bare.Reset(x.values[i%len(x.values)][frameBytes:])
				if bare.ReadVal(x.schema, m); bare.Error != nil {
					b.Fatal(bare.Error)
				}
			})
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, typ := range []event.Type{event.TypeDealChanged, event.TypeContactChanged, event.TypeWebhookReceived} {
		b.Run(string(typ), func(b *testing.B) {
			x := newBench(b, typ)
			bare := avro.NewWriter(nil, 1024, avro.WithWriterConfig(x.api))
			var dst []byte
			measure(b, func(i int) {
				var err error
				if dst, err = x.codec.AppendEncode(b.Context(), dst[:0], topicOf, x.messages[i%len(x.messages)]); err != nil {
					b.Fatal(err)
				}
			}, func(i int) {
				bare.Reset(nil)
				if bare.WriteVal(x.schema, x.messages[i%len(x.messages)]); bare.Error != nil {
					b.Fatal(bare.Error)
				}
			})
		})
	}
}

func BenchmarkWalk(b *testing.B) {
	x := newBench(b, event.TypeDealChanged)
	e, err := x.codec.encoder(x.typ)
	require.NoError(b, err)
	p := e.program
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := p.check(x.values[i%len(x.values)][frameBytes:], ErrPoison); err != nil {
			b.Fatal(err)
		}
	}
}
