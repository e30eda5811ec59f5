package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/verdict"
)

// copier writes every record into a table, in the batch's transaction, and emits two records for it
// where emit is set.
type copier struct {
	w      *world
	emit   bool
	fresh  bool // through the ledger, as projections do
	on     func(b *stream.Batch, i int, r *stream.Record) error
	write  func() error
	mu     sync.Mutex
	forgot int
	sizes  []int
}

func newCopier(w *world) *copier {
	w.exec("CREATE TABLE {schema}.copy (n bigint GENERATED ALWAYS AS IDENTITY, line text)")
	return &copier{w: w}
}

func (c *copier) Handle(_ context.Context, b *stream.Batch) error {
	var rows []ledger.Row
	var texts []string
	for i, r := range b.Records() {
		if c.on != nil {
			if err := c.on(b, i, r); err != nil {
				var v *verdict.Error
				if errors.As(err, &v) && (v.Kind == verdict.Hold || v.Kind == verdict.Park || v.Kind == verdict.Skip) {
					b.Give(i, err)
					continue
				}
				return err
			}
		}
		e := r.Message.(*event.DealChanged)
		texts = append(texts, line(e, "set"))
		rows = append(
			rows,
			ledger.Row{EID: uuid.MustParse(e.Origin.EventID), Topic: r.Topic, Partition: r.Partition, Offset: r.Offset},
		)
		if c.emit {
			for _, n := range []string{"a", "b"} {
				b.Emit(i, stream.Out{Topic: topic.Contacts, Key: r.Key, Message: &event.ContactChanged{
					Origin: e.Origin, Contact: event.Contact{ContactKey: line(e, "set") + n},
				}})
			}
		}
	}
	c.mu.Lock()
	c.sizes = append(c.sizes, len(texts))
	c.mu.Unlock()
	b.Commit(func(ctx context.Context, tx pgx.Tx) error {
		if c.write != nil {
			if err := c.write(); err != nil {
				return err
			}
		}
		kept := texts
		if c.fresh {
			fresh, err := ledger.Fresh(ctx, tx, c.w.schema, rows)
			if err != nil {
				return err
			}
			kept = nil
			for i, is := range fresh {
				if is {
					kept = append(kept, texts[i])
				}
			}
		}
		_, err := tx.Exec(
			ctx,
			postgres.In(c.w.schema, "INSERT INTO {schema}.copy (line) SELECT unnest($1::text[])"),
			kept,
		)
		return err
	})
	return nil
}

func (c *copier) Forget(string, int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgot++
}

func (w *world) copied() []string {
	return strings.Fields(get[string](w, "SELECT COALESCE(string_agg(line, ' ' ORDER BY n),'') FROM {schema}.copy"))
}

// contacts are the contact keys in contacts.v1's one partition.
func (w *world) contacts() []string {
	w.t.Helper()
	cl, err := kgo.NewClient(append(w.deps(w.pool).Kafka, kgo.ConsumeTopics(prefix+topic.Contacts),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(w.t, err)
	defer cl.Close()
	total := w.kafka.PartitionInfo(prefix+topic.Contacts, 0).HighWatermark
	var keys []string
	for int64(len(keys)) < total {
		for _, r := range cl.PollFetches(w.t.Context()).Records() {
			m, err := w.codec.Decode(w.t.Context(), r.Value)
			require.NoError(w.t, err)
			keys = append(keys, m.(*event.ContactChanged).Contact.ContactKey)
		}
	}
	return keys
}

// Rule 9: offset and rows stand or fall together.
func TestRowsCommitWithTheOffset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := newCopier(w)
	var failed atomic.Bool
	c.write = func() error {
		if failed.CompareAndSwap(false, true) {
			return errors.New("planted")
		}
		return nil
	}
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "2", 1))
	w.batch(c)
	w.atWatermark(2)
	require.Equal(t, []string{"lakeshore/1#1", "lakeshore/2#1"}, w.copied())
	require.NotZero(t, c.forgot, "a refused transaction voids what the handler remembers (rule 2)")
}

// What the queue was to hold by a refused transaction it does not hold.
func TestQueueInMemoryFollowsARefusedTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := newCopier(w)
	var failed atomic.Bool
	c.write = func() error {
		if failed.CompareAndSwap(false, true) {
			return errors.New("planted")
		}
		return nil
	}
	c.on = func(*stream.Batch, int, *stream.Record) error { return verdict.Parked("contract broken", nil) }
	w.publish(deal("lakeshore", "1", 1))
	w.batch(c)
	w.atWatermark(1)
	require.Equal(t, "contract broken 1", get[string](w, "SELECT cause || ' ' || count FROM {schema}.queued_key"))
	require.Equal(t, "contract broken", get[string](w, "SELECT cause FROM {schema}.queued_record"))
}

// Rule 12: a copy at another offset has no second effect.
func TestCopiesAreProjectedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := newCopier(w)
	c.fresh = true
	d := deal("lakeshore", "1", 1)
	w.publish(d, d, deal("lakeshore", "1", 2))
	w.batch(c)
	w.atWatermark(3)
	w.publish(d)
	w.atWatermark(4)
	require.Equal(t, lines("lakeshore/1", 1, 2), w.copied())
}

// Rule 8: nothing is committed before every output is acknowledged.
func TestOffsetIsNotCommittedBeforeOutputsAreAcknowledged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, topic.Deals, topic.Contacts)
	c := newCopier(w)
	c.emit = true
	w.publish(deal("lakeshore", "1", 1))
	gate, reached := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		once.Do(func() { w.kafka.SleepControl(func() { close(reached); <-gate }) })
		return nil, nil, false
	})
	w.batch(c)
	<-reached
	require.Zero(t, w.watermark())
	require.Empty(t, w.copied())
	close(gate)
	w.atWatermark(1)
	require.Equal(t, []string{"lakeshore/1#1a", "lakeshore/1#1b"}, w.contacts())
}

// Rule 10: after the first refused record nothing of its key is in the log ahead of it.
func TestFirstOccurrencesOfAKeyAreInOrderWhenAProduceIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, topic.Deals, topic.Contacts)
	c := newCopier(w)
	c.emit = true
	var want []string
	for n := int64(1); n <= 40; n++ {
		w.publish(deal("lakeshore", "1", n))
		want = append(want, fmt.Sprintf("lakeshore/1#%da", n), fmt.Sprintf("lakeshore/1#%db", n))
	}
	w.kafka.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: prefix + topic.Contacts, Err: kerr.InvalidRecord, Count: 2},
	)
	w.batch(c)
	w.atWatermark(40)
	seen := map[string]bool{}
	var first []string
	for _, k := range w.contacts() {
		if !seen[k] {
			first = append(first, k)
		}
		seen[k] = true
	}
	require.Equal(t, want, first)
}

func TestUndecodableRecordParksWithItsBytesAndOthersGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := newCopier(w)
	good := deal("lakeshore", "1", 1)
	w.raw(
		kgo.Record{
			Key:     []byte(good.Deal.DealKey),
			Value:   []byte("not avro"),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte{0xff}}},
		},
	)
	w.publish(good, deal("lakeshore", "2", 1))
	w.raw(kgo.Record{Key: []byte("k"), Value: nil})
	w.batch(c)
	w.atWatermark(4)
	require.Equal(t, []string{"lakeshore/2#1"}, w.copied())
	require.Equal(t, "not avro", string(get[[]byte](w, "SELECT value FROM {schema}.queued_record WHERE pos = 0")))
	require.Equal(
		t,
		"3 undecodable 2",
		get[string](w, "SELECT kind || ' ' || cause || ' ' || count FROM {schema}.queued_key"),
	)
	q := ledger.NewQueue(w.pool, w.schema)
	d, err := q.Show(t.Context(), topic.Deals, good.Deal.DealKey)
	require.NoError(t, err)
	require.Len(t, d.Records, 2)
	require.NoError(t, q.Drop(t.Context(), topic.Deals, good.Deal.DealKey, "ops", "a tool wrote it"))
	w.emptyQueue()
	require.Equal(t, []string{"lakeshore/2#1", "lakeshore/1#1"}, w.copied(), "what was behind it flows")
	require.EqualValues(t, 3, get[int64](w, "SELECT state FROM {schema}.queued_record WHERE pos = 0"))
}

func (w *world) raw(r kgo.Record) {
	w.t.Helper()
	r.Topic = prefix + topic.Deals
	cl, err := kgo.NewClient(w.deps(w.pool).Kafka...)
	require.NoError(w.t, err)
	defer cl.Close()
	require.NoError(w.t, cl.ProduceSync(w.t.Context(), &r).FirstErr())
}

// An error about one record of a batch is found by going one by one; only that record waits.
func TestPanicAndParkAreTheRecordsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := newCopier(w)
	c.on = func(_ *stream.Batch, _ int, r *stream.Record) error {
		switch line(r.Message.(*event.DealChanged), "set") {
		case "lakeshore/1#1":
			panic("planted")
		case "lakeshore/2#1":
			return verdict.Parked("contract broken", errors.New("/status"))
		case "lakeshore/3#1":
			return verdict.Held(verdict.TenantScope("lakeshore"), time.Time{}, "paused", nil)
		case "lakeshore/4#1":
			return verdict.Skipped("not for me")
		}
		return nil
	}
	for n := int64(1); n <= 2; n++ {
		for d := range 6 {
			w.publish(deal("lakeshore", strconv.Itoa(d), n))
		}
	}
	w.batch(c)
	w.atWatermark(12)
	require.ElementsMatch(
		t,
		[]string{"lakeshore/0#1", "lakeshore/5#1", "lakeshore/0#2", "lakeshore/4#2", "lakeshore/5#2"},
		w.copied(),
	)
	require.Equal(t, "contract broken 3, handler panicked 3, paused 2", get[string](w,
		"SELECT string_agg(cause || ' ' || kind, ', ' ORDER BY cause) FROM {schema}.queued_key"))
}

// A handler that looks at all records first, and then holds one back, cannot let a later one of its
// key pass.
func TestRecordBehindOneThatWasHeldBackLateIsNotApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.exec("CREATE TABLE {schema}.copy (n bigint GENERATED ALWAYS AS IDENTITY, line text)")
	h := lateParker{w}
	w.publish(
		deal("lakeshore", "1", 1),
		deal("lakeshore", "1", 2),
		deal("lakeshore", "2", 1),
		deal("lakeshore", "1", 3),
	)
	w.batch(h)
	w.atWatermark(4)
	require.Equal(t, []string{"lakeshore/1#1", "lakeshore/2#1"}, w.copied())
}

type lateParker struct{ w *world }

func (l lateParker) Handle(_ context.Context, b *stream.Batch) error {
	var all []*stream.Record
	for _, r := range b.Records() {
		all = append(all, r)
	}
	var texts []string
	for i, r := range all {
		if text := line(r.Message.(*event.DealChanged), "set"); text == "lakeshore/1#2" {
			b.Give(i, verdict.Parked("late", nil))
		} else {
			texts = append(texts, text)
		}
	}
	b.Commit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(
			ctx,
			postgres.In(l.w.schema, "INSERT INTO {schema}.copy (line) SELECT unnest($1::text[])"),
			texts,
		)
		return err
	})
	return nil
}

func TestTooLargeOutputParksItsRecordAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, topic.Deals, topic.Contacts)
	c := newCopier(w)
	c.on = func(b *stream.Batch, i int, r *stream.Record) error {
		name := "small"
		if line(r.Message.(*event.DealChanged), "set") == "lakeshore/1#1" {
			name = strings.Repeat("x", topic.MessageBytesMax)
		}
		b.Emit(
			i,
			stream.Out{
				Topic:   topic.Contacts,
				Key:     r.Key,
				Message: &event.ContactChanged{Contact: event.Contact{ContactKey: "k", FullName: name}},
			},
		)
		return nil
	}
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "2", 1), deal("lakeshore", "1", 2))
	w.batch(c)
	w.atWatermark(3)
	require.Equal(t, []string{"lakeshore/2#1"}, w.copied())
	require.Equal(t, "too large", get[string](w, "SELECT cause FROM {schema}.queued_key"))
}

func TestBatchStallMovesNothingAndResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := newCopier(w)
	var down atomic.Bool
	down.Store(true)
	c.on = func(*stream.Batch, int, *stream.Record) error {
		if down.Load() {
			return verdict.Stalled("world wrong", nil)
		}
		return nil
	}
	w.publish(deal("lakeshore", "1", 1))
	r := w.batch(c)
	w.eventually(
		"not ready",
		func() bool { return r.Ready() != nil && strings.Contains(r.Ready().Error(), "world wrong") },
	)
	require.Zero(t, w.watermark())
	down.Store(false)
	w.atWatermark(1)
	w.eventually("ready", func() bool { return r.Ready() == nil })
}

// The queue serves batch handlers as it serves keyed ones.
func TestReleasedRecordsOfABatchHandlerFlowInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := newCopier(w)
	var mended atomic.Bool
	c.on = func(_ *stream.Batch, _ int, r *stream.Record) error {
		if !mended.Load() && r.Message.(*event.DealChanged).Origin.Resource.ID == "1" {
			return verdict.Parked("contract broken", nil)
		}
		return nil
	}
	for n := int64(1); n <= 25; n++ {
		w.publish(deal("lakeshore", "1", n))
	}
	w.batch(c)
	w.atWatermark(25)
	require.Empty(t, w.copied())
	mended.Store(true)
	w.release(ledger.Filter{Cause: "contract broken"})
	w.publish(deal("lakeshore", "1", 26))
	w.emptyQueue()
	w.eventually("all copied", func() bool { return len(w.copied()) == 26 })
	require.Equal(t, lines("lakeshore/1", 1, 26), w.copied())
}
