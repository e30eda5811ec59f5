package translate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/stream"
	"conveyance/internal/testkit"
	"conveyance/processors/link"
)

const linksPrefix = "t."

// shop is a bureau under a real engine, with a Kafka of its own.
type shop struct {
	*bureau
	kafka []kgo.Opt
	wire  *wire.Codec
	pub   *stream.Publisher
	seen  struct {
		sync.Mutex
		lines []string
	}
}

func newShop(t *testing.T) *shop {
	t.Helper()
	names := []string{topic.Snapshots("plain"), topic.Snapshots("sign"), topic.Deals, topic.Contacts, topic.Links}
	for i, n := range names {
		names[i] = linksPrefix + n
	}
	s := &shop{bureau: newBureau(t)}
	s.kafka = []kgo.Opt{kgo.SeedBrokers(testkit.Kafka(t, 3, names...).ListenAddrs()...)}
	var err error
	s.wire, err = wire.New(wire.Config{Prefix: linksPrefix})
	require.NoError(t, err)
	s.pub, err = stream.NewPublisher(linksPrefix, s.engineDeps())
	require.NoError(t, err)
	t.Cleanup(s.pub.Close)
	s.desk = link.NewDesk(s.pool, s.schema, NewNudger(s.pool, s.schema, s.wire, s.pub))
	s.listen(names[2], names[4])
	return s
}

func (s *shop) engineDeps() stream.Deps {
	return stream.Deps{Kafka: s.kafka, Pool: s.pool, Codec: s.wire, Log: testkit.Log(s.t)}
}

// listen writes down what is on the bus, in the words of told.
func (s *shop) listen(topics ...string) {
	cl, err := kgo.NewClient(append(s.kafka, kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.t.Cleanup(func() { cancel(); <-done; cl.Close() })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			fetches.EachRecord(func(r *kgo.Record) {
				m, err := s.wire.Decode(ctx, r.Value)
				if err != nil {
					return
				}
				b := bureau{log: []stream.Out{{Message: m}}}
				s.seen.Lock()
				defer s.seen.Unlock()
				s.seen.lines = append(s.seen.lines, b.told()...)
			})
		}
	}()
}

// await waits until lines are on the bus; signatures among them must be in their order.
func (s *shop) await(lines ...string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		s.seen.Lock()
		defer s.seen.Unlock()
		have := map[string]bool{}
		for _, l := range s.seen.lines {
			have[l] = true
		}
		for _, l := range lines {
			if !have[l] {
				return false
			}
		}
		return true
	}, testkit.Patience, testkit.Look, "%v", lines)
}

func (s *shop) lines() []string {
	s.seen.Lock()
	defer s.seen.Unlock()
	return append([]string{}, s.seen.lines...)
}

// run starts an engine over h, and returns what stops it.
func (s *shop) run(h stream.BatchHandler) (stop func()) {
	s.t.Helper()
	e, err := stream.NewBatch(stream.Config{
		Group: "translate", Schema: s.schema, Topics: []string{topic.Snapshots("plain"), topic.Snapshots("sign")},
		Prefix: linksPrefix, Session: 6 * time.Second, DrainTimeout: 5 * time.Second,
	}, s.engineDeps(), h)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); require.NoError(s.t, <-ended) }) }
	s.t.Cleanup(stop)
	return stop
}

func (s *shop) publish(snapshots ...*event.VendorSnapshot) {
	s.t.Helper()
	for _, m := range snapshots {
		require.NoError(s.t, s.pub.Publish(s.t.Context(), stream.Out{
			Topic: topic.Snapshots(m.Resource.Vendor), Key: []byte(m.Resource.Key()), Message: m,
		}))
	}
}

func (s *shop) waiting(n int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		return s.count("SELECT COALESCE(sum(count), 0) FROM {schema}.queued_key") == n
	}, testkit.Patience, testkit.Look)
}

func TestEnvelopeWaitsInTheQueueUntilItsDealComes(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	stop := s.run(s.Translator)
	e, f := envelope("e"), envelope("f")
	s.publish(of(e, 1, signed(e, []string{"mira"}, id("1"))), of(e, 2, signed(e, []string{"mira", "otis"}, id("1"))),
		of(f, 3, signed(f, []string{"uma"}, id("2"))))
	s.waiting(3)
	stop()
	s.restart()
	s.run(s.Translator)
	s.publish(of(resource("1"), 4, claiming("a", id("1"))))
	s.await("linked e to 1 by DEAL_FIELD #1", "mira signed e of 1", "otis signed e of 1")
	s.waiting(1)
	var signatures []string
	for _, l := range s.lines() {
		if l == "mira signed e of 1" || l == "otis signed e of 1" {
			signatures = append(signatures, l)
		}
	}
	require.Equal(t, []string{"mira signed e of 1", "otis signed e of 1"}, signatures)
	require.NotContains(t, fmt.Sprint(s.lines()), "uma")

	_, err := s.desk.Set(t.Context(), f.Key(), resource("1").Key(), "ada", "")
	require.NoError(t, err)
	s.await("linked f to 1 by PERSON #1", "uma signed f of 1")
	s.waiting(0)
	_, err = s.desk.Undo(t.Context(), e.Key(), "ada", "wrong") // it waits nowhere: a nudge
	require.NoError(t, err)
	s.await("unlinked e from 1 #2")
}

// gate lets a test act between a batch's look for deals and its transaction.
type gate struct {
	*Translator
	shut   atomic.Bool
	looked chan struct{}
	goOn   chan struct{}
}

func (g *gate) Handle(ctx context.Context, b *stream.Batch) error {
	if err := g.Translator.Handle(ctx, b); err != nil {
		return err
	}
	if b.Topic() == topic.Snapshots("sign") && g.shut.Swap(false) {
		g.looked <- struct{}{}
		<-g.goOn
	}
	return nil
}

func TestDealThatCommitsBetweenLookAndHoldReleasesItInTheEngine(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	g := &gate{Translator: s.Translator, looked: make(chan struct{}), goOn: make(chan struct{})}
	g.shut.Store(true)
	s.run(g)
	e := envelope("e")
	s.publish(of(e, 1, signed(e, []string{"mira"}, id("1"))))
	<-g.looked
	s.publish(of(resource("1"), 2, claiming("a", id("1"))))
	require.Eventually(t, func() bool { return s.count("SELECT count(*) FROM {schema}.deal_claim") == 1 }, testkit.Patience, testkit.Look)
	close(g.goOn)
	s.await("linked e to 1 by DEAL_FIELD #1", "mira signed e of 1")
	s.waiting(0)
}
