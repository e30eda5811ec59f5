package stream_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
)

func (w *world) admin() *kadm.Client {
	w.t.Helper()
	cl, err := kgo.NewClient(w.deps(w.pool).Kafka...)
	require.NoError(w.t, err)
	w.t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func (w *world) mirrored() string {
	w.t.Helper()
	offsets, err := w.admin().FetchOffsets(w.t.Context(), prefix+"g")
	require.NoError(w.t, err)
	o, ok := offsets.Lookup(prefix+topic.Deals, 0)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d %s", o.At, o.Metadata)
}

func (w *world) mirror(at int64, metadata string) {
	w.t.Helper()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: prefix + topic.Deals, Partition: 0, At: at, LeaderEpoch: -1, Metadata: metadata})
	require.NoError(w.t, w.admin().CommitAllOffsets(w.t.Context(), prefix+"g", offsets))
}

func TestGroupStartsWhereItSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start stream.Start
		first int64
	}{
		"beginning": {stream.Start{}, 0},
		"time":      {stream.Start{At: time.UnixMilli(2000)}, 2},
		"end":       {stream.Start{Latest: true}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			for n := range int64(3) {
				d := deal("lakeshore", "1", n+1)
				value, err := w.codec.AppendEncode(t.Context(), nil, topic.Deals, d)
				require.NoError(t, err)
				w.raw(kgo.Record{Key: []byte(d.Deal.DealKey), Value: value, Timestamp: time.UnixMilli(1000 * n)})
			}
			cfg := w.config()
			cfg.Start = c.start
			v := &vendor{class: ledger.ClassB}
			r := w.run(stream.NewKeyed(cfg, w.deps(w.pool), v))
			w.eventually("claimed", func() bool { return r.Ready() == nil })
			w.publish(deal("lakeshore", "1", 4))
			w.atWatermark(4)
			require.Len(t, v.done(), int(4-c.first))
		})
	}
}

// An offset outside the log stalls its partition and pages; the others go on, nothing jumps (W34).
func TestOffsetOutsideTheLogStallsThatPartitionAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.exec(
		"INSERT INTO {schema}.consumer_offsets (topic, part, next_offset, owner) " +
			"VALUES ('deals.v1', 0, 99, gen_random_uuid())",
	)
	v := &vendor{class: ledger.ClassB}
	r := w.keyed(v)
	for d := range 20 {
		w.publish(deal("lakeshore", strconv.Itoa(d), 1))
	}
	high := w.kafka.PartitionInfo(prefix+topic.Deals, 1).HighWatermark
	w.atWatermark(99 + high)
	require.ErrorContains(t, r.Ready(), "deals.v1/0: stored offset outside the log")
	require.Len(t, v.done(), int(high))
	require.NoError(
		t,
		ledger.Rewind(t.Context(), w.pool, w.schema, ledger.Place{Topic: topic.Deals}, 0, "ops", "page answered"),
	)
	w.atWatermark(20)
	w.eventually("ready", func() bool { return r.Ready() == nil })
	require.Len(t, v.done(), 20)
}

func TestTopicThatWasMadeAnewStalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{class: ledger.ClassB}
	r := w.keyed(v)
	w.publish(deal("lakeshore", "1", 1))
	w.atWatermark(1)
	r.stop()
	w.exec("UPDATE {schema}.consumer_offsets SET topic_id = gen_random_uuid()")
	again := w.keyed(v)
	w.eventually("stalled", func() bool {
		return again.Ready() != nil &&
			again.Ready().
				Error() ==
				"group g is stalled: deals.v1/0: topic was made anew: the stored offset is of another log"
	})
	w.publish(deal("lakeshore", "1", 2))
	require.Len(t, v.done(), 1)
}

func TestMirrorFollowsAndIsNeverResumedFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{class: ledger.ClassB}
	r := w.keyed(v)
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "1", 2))
	w.atWatermark(2)
	w.eventually("mirrored", func() bool { return w.mirrored() == `2 {"timeline":1}` })
	r.stop()
	w.mirror(0, "")
	w.keyed(v)
	w.publish(deal("lakeshore", "1", 3))
	w.atWatermark(3)
	require.Equal(t, lines("lakeshore/1", 1, 3), v.called())
}

func TestRewindRepeatsNoEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{class: ledger.ClassD}
	w.keyed(v)
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "2", 1))
	w.atWatermark(2)
	w.eventually("mirrored", func() bool { return w.mirrored() == `2 {"timeline":1}` })
	require.NoError(t, ledger.Rewind(t.Context(), w.pool, w.schema, ledger.Place{Topic: topic.Deals}, 0, "ops", "try"))
	w.publish(deal("lakeshore", "3", 1))
	w.atWatermark(3)
	require.Len(t, v.called(), 3)
	require.Equal(
		t,
		"lakeshore/1#1=2 lakeshore/2#1=2 lakeshore/3#1=2",
		w.states(),
		"the mirror above a rewind raises no doubt",
	)
}

// A missing migration is said, and waited for.
func TestMissingMigrationIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.exec("ALTER TABLE {schema}.consumer_offsets RENAME TO gone")
	v := &vendor{class: ledger.ClassB}
	r := w.keyed(v)
	w.eventually("said", func() bool { return r.Ready() != nil && r.Ready().Error() != "group g: joining the group" })
	w.exec("ALTER TABLE {schema}.gone RENAME TO consumer_offsets")
	w.publish(deal("lakeshore", "1", 1))
	w.atWatermark(1)
	w.eventually("ready", func() bool { return r.Ready() == nil })
}

func TestPublisherSendsInOrderAndAddsHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	d := deal("lakeshore", "1", 1)
	require.NoError(
		t,
		w.pub.Publish(t.Context(), out(d), out(deal("lakeshore", "1", 2)), out(deal("lakeshore", "2", 1))),
	)
	cl, err := kgo.NewClient(append(w.deps(w.pool).Kafka, kgo.ConsumeTopics(prefix+topic.Deals),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(t, err)
	defer cl.Close()
	var records []*kgo.Record
	for len(records) < 3 {
		records = append(records, cl.PollFetches(t.Context()).Records()...)
	}
	h := map[string]string{}
	for _, x := range records[0].Headers {
		h[x.Key] = string(x.Value)
	}
	require.Regexp(t, `^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`, h["traceparent"])
	delete(h, "traceparent")
	require.Equal(t, map[string]string{
		"ce_specversion": "1.0",
		"ce_id":          d.Origin.EventID,
		"ce_source":      "/lakeshore/skyslope/main",
		"ce_type":        "DealChanged",
		"ce_time":        "2026-03-01T00:00:01Z",
		"ce_subject":     "lakeshore/skyslope/main/sale/1",
		"content-type":   "application/avro",
	}, h)
	m, err := w.codec.Decode(t.Context(), records[1].Value)
	require.NoError(t, err)
	require.EqualValues(t, 2, m.(*event.DealChanged).Origin.Revision)
}

// What follows from a record is a step of its own in the record's trace; a header that is no trace
// goes no further.
func TestEachStepOfATraceHasASpanOfItsOwn(t *testing.T) {
	t.Parallel()
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, one := range []struct{ header, follows string }{
		{"00-" + trace + "-" + span + "-01", `^00-` + trace + `-[0-9a-f]{16}-01$`},
		{"00-" + trace + "-" + span + "-00", `^00-` + trace + `-[0-9a-f]{16}-00$`},
		{"'; DROP TABLE x", `^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`},
	} {
		t.Run(one.header, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, topic.Deals, topic.Contacts)
			c := newCopier(w)
			c.emit = true
			r := w.framed(deal("lakeshore", "1", 1), 4, "DealChanged")
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "traceparent", Value: []byte(one.header)})
			w.raw(r)
			w.batch(c)
			w.atWatermark(1)
			seen := map[string]bool{span: true}
			for _, text := range w.traces(2) {
				require.Regexp(t, one.follows, text)
				seen[text[36:52]] = true
			}
			require.Len(t, seen, 3, "one of the record, one of each that follows from it")
		})
	}
}

// traces are the traceparent headers of the first n records in contacts.v1's one partition.
func (w *world) traces(n int) (found []string) {
	w.t.Helper()
	cl, err := kgo.NewClient(append(w.deps(w.pool).Kafka, kgo.ConsumeTopics(prefix+topic.Contacts),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(w.t, err)
	defer cl.Close()
	for len(found) < n {
		for _, r := range cl.PollFetches(w.t.Context()).Records() {
			for _, h := range r.Headers {
				if h.Key == "traceparent" {
					found = append(found, string(h.Value))
				}
			}
		}
	}
	return found
}
