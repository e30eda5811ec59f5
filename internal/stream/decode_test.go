package stream_test

import (
	"encoding/binary"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"conveyance/avro/event"
	"conveyance/avro/schema"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
)

// unheard is an id that the registry does not hold.
const unheard = 99

// registered is a registry that holds this build's schemas under the ids that w.codec writes, a
// codec on it, and that codec's clock.
type registered struct {
	*srfake.Registry
	codec *wire.Codec
	asked atomic.Int64
	away  atomic.Bool
	clock atomic.Int64 // seconds
}

func newRegistered(t *testing.T) *registered {
	t.Helper()
	r := &registered{Registry: srfake.NewRegistry()}
	texts := schema.All()
	for i, name := range slices.Sorted(maps.Keys(texts)) {
		r.SeedSchema(wire.Subject(prefix, topic.Contacts, event.Type(name)), 1, i+1, sr.Schema{Schema: texts[name]})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		if r.away.Load() {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		r.Handler().ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	var err error
	r.codec, err = wire.New(wire.Config{
		Registry: server.URL, Prefix: prefix, Now: func() time.Time { return time.Unix(r.clock.Load(), 0) },
	})
	require.NoError(t, err)
	return r
}

func (r *registered) pass(d time.Duration) { r.clock.Add(int64(d / time.Second)) }

// framed is a deal as it stands in the log, under another schema id and with a header.
func (w *world) framed(d *event.DealChanged, id uint32, ceType string) kgo.Record {
	w.t.Helper()
	value, err := w.codec.AppendEncode(w.t.Context(), nil, topic.Deals, d)
	require.NoError(w.t, err)
	binary.BigEndian.PutUint32(value[1:], id)
	r := kgo.Record{Key: []byte(d.Deal.DealKey), Value: value}
	if ceType != "" {
		r.Headers = []kgo.RecordHeader{{Key: "ce_type", Value: []byte(ceType)}}
	}
	return r
}

// queued is the one key in the queue: kind, cause, records.
func (w *world) queued() string {
	w.t.Helper()
	return get[string](w, "SELECT COALESCE(string_agg(kind || ' ' || cause || ' ' || count, ', '), '') FROM {schema}.queued_key")
}

// The header decides, not the schema: neither a registry that denies the id nor one that knows it
// changes what becomes of an event that this build has no name for.
func TestTypeThatThisBuildLacksIsSkippedAndCountedWhateverItsSchema(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t, 1), newRegistered(t)
	reg, c := prometheus.NewRegistry(), newCopier(w)
	deps := w.deps(w.pool)
	deps.Codec, deps.Metrics = r.codec, reg
	r.SeedSchema("newer", 1, 50, sr.Schema{
		Schema: `{"type":"record","name":"OfferMade","namespace":"x","fields":[{"name":"a","type":"int"}]}`,
	})
	w.raw(w.framed(deal("lakeshore", "1", 1), unheard, "OfferMade"))
	w.raw(w.framed(deal("lakeshore", "1", 1), 50, "OfferMade"))
	w.raw(w.framed(deal("lakeshore", "1", 1), 50, "")) // no header: its schema decides
	w.raw(kgo.Record{Key: []byte("k"), Value: []byte{7}, Headers: []kgo.RecordHeader{{Key: "ce_type", Value: nil}}})
	w.publish(deal("lakeshore", "1", 2))
	w.run(stream.NewBatch(w.config(), deps, c))
	w.atWatermark(5)
	require.Equal(t, []string{"lakeshore/1#2"}, w.copied())
	require.Empty(t, w.queued())
	require.EqualValues(t, 4, sample(t, reg, "conveyance_records_total", "cause", "unknown type"))
	require.EqualValues(t, 2, r.asked.Load(), "for the record without a header, and for the deal")
}

func TestUnknownSchemaStallsForItsTimeThenParksAloneAndFlowsOnceItIsKnown(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t, 1), newRegistered(t)
	c, deps := newCopier(w), w.deps(w.pool)
	deps.Codec = r.codec
	first := deal("lakeshore", "1", 1)
	w.raw(w.framed(first, unheard, "DealChanged"))
	w.publish(deal("lakeshore", "2", 1), deal("lakeshore", "1", 2))
	e := w.run(stream.NewBatch(w.config(), deps, c))
	w.says(e, "deals.v1/0: schema unknown to the registry")
	r.pass(wire.GraceDefault - time.Second)
	asked := r.asked.Load()
	w.eventually("another question", func() bool { return r.asked.Load() > asked })
	require.Zero(t, w.watermark(), "a follower of the registry may lag")
	require.Empty(t, w.queued())

	r.pass(time.Second)
	w.atWatermark(3)
	require.Equal(t, []string{"lakeshore/2#1"}, w.copied())
	require.Equal(t, "3 unknown schema 2", w.queued())
	w.eventually("ready", func() bool { return e.Ready() == nil })
	q := ledger.NewQueue(w.pool, w.schema)
	d, err := q.Show(t.Context(), topic.Deals, first.Deal.DealKey)
	require.NoError(t, err)
	require.Contains(t, d.Detail, "the registry has denied schema 99 for 1m0s")

	r.SeedSchema("late", 1, unheard, sr.Schema{Schema: schema.All()["DealChanged"]})
	r.pass(2 * time.Second)
	_, err = q.Release(t.Context(), ledger.Filter{Cause: "unknown schema"}, "ops", "the registry holds it now")
	require.NoError(t, err)
	w.emptyQueue()
	require.Equal(t, []string{"lakeshore/2#1", "lakeshore/1#1", "lakeshore/1#2"}, w.copied())
}

// A header that names a type of ours is a promise: where the schema is of another type, somebody must
// look, or a record that was accepted would be lost.
func TestRecordWhoseSchemaIsOfAnotherTypeThanItsHeaderSaysParks(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t, 1), newRegistered(t)
	c, deps := newCopier(w), w.deps(w.pool)
	deps.Codec = r.codec
	r.SeedSchema("newer", 1, 50, sr.Schema{
		Schema: `{"type":"record","name":"OfferMade","namespace":"x","fields":[{"name":"a","type":"int"}]}`,
	})
	first := deal("lakeshore", "1", 1)
	w.raw(w.framed(first, 50, "DealChanged"))
	w.publish(deal("lakeshore", "2", 1))
	w.run(stream.NewBatch(w.config(), deps, c))
	w.atWatermark(2)
	require.Equal(t, []string{"lakeshore/2#1"}, w.copied())
	require.Equal(t, "3 undecodable 1", w.queued())
	d, err := ledger.NewQueue(w.pool, w.schema).Show(t.Context(), topic.Deals, first.Deal.DealKey)
	require.NoError(t, err)
	require.Contains(t, d.Detail, "reading a record whose header says DealChanged: ")
	require.Contains(t, d.Detail, "x.OfferMade")
}

// Whatever bytes stand there, in front of the deal's own: they park with their key, byte for byte.
func TestBytesThatMatchNothingPark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := newCopier(w)
	whole := w.framed(deal("lakeshore", "9", 1), 4, "DealChanged").Value
	frame := slices.Clone(whole)
	frame[0] = 1
	bad := [][]byte{
		{},                       // no frame
		whole[:4],                // half of one
		whole[:5],                // nothing behind it
		whole[:len(whole)-1],     // truncated
		append(whole, 0),         // longer than its schema
		frame,                    // a magic byte that is not 0
		append(frame[:0:0], '{'), // JSON
	}
	for i, value := range bad {
		w.raw(kgo.Record{
			Key: []byte{'k', byte('0' + i)}, Value: value, Headers: []kgo.RecordHeader{{Key: "ce_type", Value: []byte("DealChanged")}},
		})
	}
	w.publish(deal("lakeshore", "1", 1))
	w.batch(c)
	w.atWatermark(int64(len(bad) + 1))
	require.Equal(t, []string{"lakeshore/1#1"}, w.copied())
	require.EqualValues(t, len(bad), get[int64](w, "SELECT count(*) FROM {schema}.queued_key WHERE kind = 3 AND cause = 'undecodable'"))
	for i, value := range bad {
		require.Equal(t, value, get[[]byte](w, "SELECT value FROM {schema}.queued_record WHERE pos = $1", i))
	}
}
