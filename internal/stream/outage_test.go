package stream_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"conveyance/avro/event"
	"conveyance/avro/schema"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
)

// says waits until an engine names what it waits for.
func (w *world) says(r *running, what string) {
	w.t.Helper()
	w.eventually(what, func() bool { return r.Ready() != nil && strings.Contains(strings.ToLower(r.Ready().Error()), what) })
}

func TestPostgresAwayAtStartAndInTheMiddleIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	p := newProxy(t)
	pool := p.pool()
	p.cutOff()
	v := &vendor{class: ledger.ClassD}
	r := w.run(stream.NewKeyed(w.config(), w.deps(pool), v))
	w.publish(deal("lakeshore", "1", 1))
	w.says(r, "postgres")
	p.set(func() { p.cut = false })
	w.atWatermark(1)
	w.eventually("ready", func() bool { return r.Ready() == nil })
	p.cutOff()
	w.publish(deal("lakeshore", "1", 2))
	w.says(r, "postgres")
	p.set(func() { p.cut = false })
	w.atWatermark(2)
	require.Equal(t, lines("lakeshore/1", 1, 2), v.called())
	w.eventually("ready again", func() bool { return r.Ready() == nil })
}

func TestKafkaAwayIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.keyed(&vendor{class: ledger.ClassB})
	w.publish(deal("lakeshore", "1", 1))
	w.atWatermark(1)
	w.kafka.Close()
	w.says(r, "kafka")
}

func TestKafkaAwayAtStartIsSaidAndWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.publish(deal("lakeshore", "1", 1))
	var away atomic.Bool
	away.Store(true)
	deps := w.deps(w.pool)
	deps.Kafka = append(deps.Kafka, kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		if away.Load() {
			return nil, syscall.ECONNREFUSED
		}
		return (&net.Dialer{}).DialContext(ctx, network, host)
	}))
	v := &vendor{class: ledger.ClassD}
	r := w.run(stream.NewKeyed(w.config(), deps, v))
	w.says(r, "kafka")
	away.Store(false)
	w.atWatermark(1)
	require.Equal(t, lines("lakeshore/1", 1, 1), v.called())
	w.eventually("ready", func() bool { return r.Ready() == nil })
}

// A schema that the registry cannot name yet is nobody's fault: the partition waits, and nothing is
// parked.
func TestRegistryAwayStallsThePartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	codec, err := wire.New(wire.Config{Prefix: prefix, Registry: "http://127.0.0.1:1"})
	require.NoError(t, err)
	deps := w.deps(w.pool)
	deps.Codec = codec
	w.raw(kgo.Record{Key: []byte("k"), Value: []byte{0, 0, 0x7f, 0, 0, 2}})
	r := w.run(stream.NewKeyed(w.config(), deps, &vendor{class: ledger.ClassB}))
	w.says(r, "deals.v1/0: registry unavailable")
	require.Zero(t, w.watermark())
	require.Zero(t, get[int64](w, "SELECT count(*) FROM {schema}.queued_key"))
}

// Both ends of a batch need the registry: the one that reads, and the one that writes what follows.
func TestRegistryAwayInTheMiddleIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, emit := range map[string]bool{"a new schema to read": false, "a new schema to write": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, reg := newWorld(t, 1, topic.Deals, topic.Contacts), newRegistered(t)
			c, deps := newCopier(w), w.deps(w.pool)
			deps.Codec = reg.codec
			c.on = func(b *stream.Batch, i int, r *stream.Record) error {
				if emit && r.Offset == 1 {
					b.Emit(i, stream.Out{Topic: topic.Contacts, Key: r.Key, Message: &event.ContactChanged{
						Contact: event.Contact{ContactKey: "c"},
					}})
				}
				return nil
			}
			r := w.run(stream.NewBatch(w.config(), deps, c))
			w.publish(deal("lakeshore", "1", 1))
			w.atWatermark(1)
			reg.away.Store(true)
			if second := deal("lakeshore", "1", 2); emit {
				w.publish(second)
			} else {
				reg.SeedSchema("newer", 1, unheard, sr.Schema{Schema: schema.All()["DealChanged"]})
				w.raw(w.framed(second, unheard, "DealChanged"))
			}
			w.says(r, "deals.v1/0: registry unavailable")
			require.EqualValues(t, 1, w.watermark())
			reg.away.Store(false)
			reg.pass(time.Minute)
			w.atWatermark(2)
			require.Equal(t, []string{"lakeshore/1#1", "lakeshore/1#2"}, w.copied())
			require.Empty(t, w.queued())
			w.eventually("ready", func() bool { return r.Ready() == nil })
		})
	}
}

func TestMetricsCountWhatRecordsAndEffectsCameTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	reg := prometheus.NewRegistry()
	deps := w.deps(w.pool)
	deps.Metrics = reg
	var dead atomic.Bool
	dead.Store(true)
	h := refusing(&dead, time.Time{})
	w.run(stream.NewKeyed(w.config(), deps, h))
	w.publish(deal("harbor", "1", 1), deal("lakeshore", "1", 1), deal("harbor", "1", 1))
	w.atWatermark(3)
	w.eventually("a pulse", func() bool { return sample(t, reg, "conveyance_held", "kind", "held") == 1 })
	require.EqualValues(t, 1, sample(t, reg, "conveyance_records_total", "verdict", "done"))
	require.EqualValues(t, 1, sample(t, reg, "conveyance_records_total", "cause", "duplicate"))
	require.EqualValues(t, 1, sample(t, reg, "conveyance_records_total", "cause", "account refused"))
	require.EqualValues(t, 1, sample(t, reg, "conveyance_effects_total", "outcome", "applied"))
	require.Zero(t, sample(t, reg, "conveyance_stalled", "group", "g"))
	require.Zero(t, sample(t, reg, "conveyance_lag_records", "group", "g"))
}

// sample sums a metric's samples that carry a label.
func sample(t *testing.T, reg *prometheus.Registry, name, label, value string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return sum
}
