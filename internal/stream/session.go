package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/fault"
	"conveyance/internal/kafka"
	"conveyance/internal/ledger"
	"conveyance/internal/observe"
)

const (
	// fetchBytes and fetchPartitionBytes keep what a client holds unpolled small: a process has
	// 128 MiB. Kafka gives at least one record, whatever its size.
	fetchBytes          = 2 << 20
	fetchPartitionBytes = 160 << 10
	// fetchesMax times fetchBytes is what may lie around. Every broker with partitions of the group
	// beyond it waits for its turn, up to fetchWait.
	fetchesMax = 3
	// fetchWait is how long a broker without news keeps a fetch open; a partition that is resumed
	// meanwhile waits for it.
	fetchWait = 500 * time.Millisecond
	// pauseAfter is how long the poll loop waits for a partition that is behind before it goes on
	// without it. A pause throws away what the client holds of it, so it must be rare.
	pauseAfter = 100 * time.Millisecond
	// metadataAge is how long a topic that is made later stays unseen.
	metadataAge = time.Minute
	// pollRecords bounds one poll, so that no partition is kept waiting behind another's backlog.
	pollRecords = 2000
	// rebalanceTimeout is how long the group waits for a member that is giving partitions up: above
	// DrainTimeout, or it would be thrown out while draining.
	rebalanceTimeout = 30 * time.Second
)

// session is one life of a client: from opening to the end of the process, or to the loss of a token.
type session struct {
	e    *Engine
	cl   *kgo.Client
	adm  *kadm.Client
	outs []*chunks
	enc  encoder
	lane lane

	opened chan struct{} // closed once the client is in place: its callbacks may come earlier
	ended  context.CancelCauseFunc
	ill    atomic.Pointer[string] // what does not answer; nil where all does
	// hard is the life of work that outlasts the end of polling, until it is drained.
	hard context.Context //nolint:containedctx // the session is the life that it stands for
	kill context.CancelFunc

	mu      sync.Mutex
	parts   map[ledger.Place]*partition
	pending []*partition       // claimed, not yet let through by the poll loop
	wake    context.CancelFunc // ends the poll under way
	room    chan struct{}      // a partition has caught up with what is fetched
	work    sync.WaitGroup
}

func (e *Engine) open(ctx context.Context) (*session, error) {
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	s := &session{
		e:      e,
		opened: make(chan struct{}),
		hard:   hard,
		kill:   kill,
		enc:    encoder{codec: e.deps.Codec, prefix: e.cfg.Prefix},
		parts:  map[ledger.Place]*partition{},
		room:   make(chan struct{}, 1),
	}
	var topics []string
	for _, t := range e.cfg.Topics {
		topics = append(topics, e.cfg.Prefix+t)
	}
	opts := append(append([]kgo.Opt{}, e.deps.Kafka...),
		kgo.ClientID(clientID),
		kgo.MetadataMaxAge(metadataAge),
		kgo.ConsumerGroup(e.cfg.Prefix+e.cfg.Group), // assigns partitions; offsets stand in Postgres
		kgo.ConsumeTopics(topics...),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), // partitions that stay are not interrupted
		kgo.SessionTimeout(e.cfg.Session),
		kgo.HeartbeatInterval(e.cfg.Session*3/10), // three may be missed
		kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.DisableAutoCommit(),                      // Kafka's offsets are a mirror (protocol.md 49)
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),  // an offset outside the log pages, never jumps (W34)
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // what a foreign producer took back never was
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		kgo.MaxConcurrentFetches(fetchesMax),
		kgo.FetchMaxWait(fetchWait),
		kgo.AdjustFetchOffsetsFn(s.claim), // the claim; before the first fetch, after every assignment
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			if len(added) == 0 {
				s.join() // a member may have no partition
			}
		}),
		kgo.OnPartitionsRevoked(s.release),
		kgo.OnPartitionsLost(s.release),
		// No BlockRebalanceOnPoll: a slow revoke would freeze the partitions that stay (measured).
	)
	if e.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(e.cfg.InstanceID)) // a restart takes its partitions up in milliseconds
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		kill()
		return nil, fmt.Errorf("making the client of group %s: %w", e.cfg.Group, err)
	}
	s.cl, s.adm, s.outs = cl, kadm.NewClient(cl), newChunks(e.deps.Kafka, s.enc)
	s.lane = e.lane(s)
	close(s.opened)
	return s, nil
}

// join marks the group as joined, and every partition of this member as claimed.
func (s *session) join() { s.e.set(s, nil) }

// run polls until ctx ends or the session is of no use, then drains and leaves.
func (s *session) run(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	s.ended = cancel
	s.work.Go(func() { s.pulses(ctx) })
	s.poll(ctx)
	cause := context.Cause(ctx)
	cancel(cause)
	s.drain(context.WithoutCancel(parent))
	s.kill()
	s.lane.close()
	s.work.Wait()
	s.cl.Close() // leaves the group, unless the member is static
	for _, out := range s.outs {
		out.close()
	}
	return cause
}

// drain finishes all partitions side by side.
func (s *session) drain(ctx context.Context) {
	var wg sync.WaitGroup
	ps := s.all()
	for _, p := range ps {
		wg.Go(func() { s.drop(p) })
	}
	wg.Wait()
	s.mirror(ctx, ps)
}

func (s *session) drop(p *partition) {
	p.quit()
	limit := s.e.cfg.DrainTimeout
	if fault.At("revoke.before") != nil {
		limit = 0 // as if it could not be finished
	}
	s.lane.remove(p, limit)
	s.mu.Lock()
	if s.parts[p.Place] == p {
		delete(s.parts, p.Place)
	}
	s.mu.Unlock()
	if err := fault.At("revoke.after"); err != nil {
		s.ended(err)
	}
}

// reopen ends the session: p's token is somebody else's, or p cannot be read by this client.
func (s *session) reopen(p *partition, why error) {
	p.log().Warn("partition.lost", observe.Err(why))
	s.ended(fmt.Errorf("%s: %w: %w", p.Place, errReopen, why))
}

// fenced says that somebody else owns p.
func (s *session) fenced(p *partition) {
	s.e.m.fenced.Inc()
	s.reopen(p, errors.New("another owner has claimed it"))
}

// poll hands fetched records to their partitions. A partition is let through between two polls
// only, while its fetching is still paused: so no record that was polled under an earlier claim
// reaches a later one.
func (s *session) poll(ctx context.Context) {
	for ctx.Err() == nil {
		pctx, cancel := context.WithCancel(ctx)
		s.admit(cancel)
		fetches := s.cl.PollRecords(pctx, pollRecords)
		cancel()
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			place := ledger.Place{Topic: f.Topic, Part: f.Partition}
			if len(f.Topic) >= len(s.e.cfg.Prefix) {
				place.Topic = f.Topic[len(s.e.cfg.Prefix):]
			}
			s.mu.Lock()
			p := s.parts[place]
			s.mu.Unlock()
			switch {
			case f.Err != nil:
				s.trouble(ctx, p, kafka.Lacks(f.Err, "READ", "topic", f.Topic))
			case p != nil:
				p.push(f.FetchPartition)
			}
		})
		s.ease(ctx)
	}
}

// ease waits a moment for partitions that are behind what is fetched. Those that stay behind are
// paused, so that they keep no other waiting.
func (s *session) ease(ctx context.Context) {
	var limit <-chan time.Time
	for {
		full := slices.DeleteFunc(s.all(), func(p *partition) bool { return !p.full() })
		if len(full) == 0 {
			return
		}
		if limit == nil {
			limit = time.After(pauseAfter)
		}
		select {
		case <-s.room:
		case <-limit:
			for _, p := range full {
				p.pause()
			}
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) eased() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

func (s *session) admit(cancel context.CancelFunc) {
	s.mu.Lock()
	admitted := s.pending
	s.pending, s.wake = nil, cancel
	for _, p := range admitted {
		s.parts[p.Place] = p
	}
	s.mu.Unlock()
	for _, p := range admitted {
		s.lane.add(p)
		if p.outside() == "" {
			s.cl.ResumeFetchPartitions(p.kafka()) // it stays paused over a reassignment
		}
	}
}

// trouble is an error of a poll.
func (s *session) trouble(ctx context.Context, p *partition, err error) {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
	case errors.Is(err, kerr.FencedInstanceID):
		s.ended(err)
	case p != nil && errors.Is(err, kerr.TopicAuthorizationFailed):
		s.denied(p, err)
	case p != nil && !kerr.IsRetriable(err):
		s.cl.PauseFetchPartitions(p.kafka()) // or it comes thousands of times a second
		p.setStall(stallLog, logCause(err), err)
	default:
		err = kafka.Explain(kafka.Lacks(err, "READ", "group", s.e.cfg.Prefix+s.e.cfg.Group))
		s.sick(err)
		if _, outside := errors.AsType[*kgo.ErrGroupSession](err); outside {
			s.e.set(s, err) // until the client has joined and claimed again, which it does by itself
		}
		wait(ctx, backoffBase)
	}
}

// rightAgainAfter is how often a partition that we may not read is tried again.
const rightAgainAfter = 5 * time.Second

// denied lets a partition rest that we may not read, or the refusal comes thousands of times a second.
func (s *session) denied(p *partition, err error) {
	s.cl.PauseFetchPartitions(p.kafka())
	p.setStall(stallRight, "the right to read it is missing", err)
	time.AfterFunc(rightAgainAfter, func() {
		p.resumed(stallRight)
		if p.outside() == "" {
			s.cl.ResumeFetchPartitions(p.kafka())
		}
	})
}

// sick says once what does not answer, until something else does not, or all does (nil).
func (s *session) sick(err error) {
	if err == nil {
		if s.ill.Swap(nil) != nil {
			s.e.deps.Log.Info("session.well")
		}
		return
	}
	text := err.Error()
	if was := s.ill.Swap(&text); was == nil || digitless(*was) != digitless(text) {
		s.e.deps.Log.Warn("session.trouble", observe.Err(err))
	}
}

// digitless makes two texts of one trouble equal that name different ports.
func digitless(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '#'
		}
		return r
	}, text)
}

func logCause(err error) string {
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return "stored offset outside the log"
	}
	return "partition unreadable"
}

// release gives partitions up: what is in hand is finished and written first, so that the next
// owner finds nothing in doubt. Whoever claims them meanwhile fences us.
func (s *session) release(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	var wg sync.WaitGroup
	for _, p := range s.take(lost) {
		wg.Go(func() { s.drop(p) })
	}
	wg.Wait()
}

// take returns the partitions of lost that are claimed; those not yet let through vanish.
func (s *session) take(lost map[string][]int32) []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := map[ledger.Place]bool{}
	var ps []*partition
	for t, parts := range lost {
		for _, n := range parts {
			place := ledger.Place{Topic: t[len(s.e.cfg.Prefix):], Part: n}
			gone[place] = true
			if p := s.parts[place]; p != nil {
				ps = append(ps, p)
			}
		}
	}
	kept := s.pending[:0]
	for _, p := range s.pending {
		if !gone[p.Place] {
			kept = append(kept, p)
		}
	}
	s.pending = kept
	return ps
}

func (s *session) all() []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	ps := make([]*partition, 0, len(s.parts))
	for _, p := range s.parts {
		ps = append(ps, p)
	}
	return ps
}

// postgresCut is true where a connection to Postgres broke under a statement.
func postgresCut(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return pgconn.SafeToRetry(err)
}
