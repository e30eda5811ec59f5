package stream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"conveyance/internal/ledger"
	"conveyance/internal/observe"
	"conveyance/internal/verdict"
)

const (
	// inboxRecords and inboxBytes are what a partition holds fetched and not yet taken; beyond, the
	// poll loop waits for it, and after pauseAfter pauses it.
	inboxRecords = 2000
	inboxBytes   = 512 << 10
	// takeBytes bounds one batch beside its count: 500 snapshots of 4 MiB would not fit a process.
	takeBytes = 4 << 20
)

// partition is a claimed partition: the token, where it stands, and all that its owner remembers.
// It lives from one claim to the next revoke, and is never used again (protocol.md 2).
type partition struct {
	ledger.Place
	s          *session
	owner      uuid.UUID
	claimedAt  time.Time // on the monotonic clock
	timeline   int32     // Postgres's, at the claim
	doubtUntil int64     // positions below it without a ledger row are in doubt (protocol.md 49)
	queuedTop  int64     // above it no position was in the queue at the claim
	busy       []ledger.Busy

	// Of the lane's goroutine.
	seq   int64 // of the last numbered transaction
	next  int64 // the watermark as stored
	queue *queue

	seen     atomic.Int64 // when the token was last seen in Postgres, in ns since the engine began
	high     atomic.Int64 // log end, from the last fetch
	stored   atomic.Int64 // next, for the pulse
	numbered atomic.Int64 // seq, for the pulse
	mirrored atomic.Int64 // the offset that Kafka was last told; -1 = none
	checked  time.Time    // of the pulse

	mu      sync.Mutex
	inbox   []*kgo.Record
	bytes   int
	paused  bool              // fetching is paused until the lane has taken some
	stalls  map[string]string // who waits for the world, and for what
	wishes  []ledger.Wish
	foreign map[string][]ledger.ID // effects under way in no lane of ours, by key (protocol.md 3)
	held    map[ledger.Kind]int64

	signal chan struct{} // something has come
	leave  chan struct{} // closed: finish what is in hand and no more
	left   chan struct{} // closed by the lane: nothing of it is in hand
	kill   context.CancelFunc
	once   sync.Once
}

// item is one record between the log and the lane.
type item struct {
	*Record
	keyID   string
	tenant  string
	at      int            // its index in a batch handler's batch; -1 = not in it
	decided *verdict.Error // what it came to before any handler saw it
	queued  bool           // its position is in the queue already: never handled live (protocol.md 39)
}

func (p *partition) nudge() {
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *partition) quit() { p.once.Do(func() { close(p.leave) }) }

func (p *partition) leaving() bool {
	select {
	case <-p.leave:
		return true
	default:
		return false
	}
}

// push takes fetched records in.
func (p *partition) push(f kgo.FetchPartition) {
	p.high.Store(f.HighWatermark)
	if len(f.Records) == 0 {
		return
	}
	p.mu.Lock()
	p.inbox = append(p.inbox, f.Records...)
	for _, r := range f.Records {
		p.bytes += len(r.Value)
	}
	p.mu.Unlock()
	p.nudge()
}

// full is true where the lane is behind what is fetched, and the fetching goes on.
func (p *partition) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.paused && p.over()
}

func (p *partition) over() bool { return len(p.inbox) > inboxRecords || p.bytes > inboxBytes }

// pause stops the fetching until the lane has taken most of what there is.
func (p *partition) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over() {
		p.paused = true
		p.s.cl.PauseFetchPartitions(p.kafka())
	}
}

func (p *partition) kafka() map[string][]int32 {
	return map[string][]int32{p.s.e.cfg.Prefix + p.Topic: {p.Part}}
}

func (p *partition) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.inbox) == 0
}

// take returns up to n fetched records, within takeBytes.
func (p *partition) take(n int) []*kgo.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	var size, i int
	for i < len(p.inbox) && i < n && (i == 0 || size+len(p.inbox[i].Value) <= takeBytes) {
		size += len(p.inbox[i].Value)
		i++
	}
	taken := p.inbox[:i:i]
	was := p.over()
	p.inbox = p.inbox[i:]
	p.bytes -= size
	if was && !p.over() {
		p.s.eased()
	}
	if p.paused && len(p.inbox) < inboxRecords/4 && p.bytes < inboxBytes/4 {
		p.paused = false
		if p.stalls[stallLog] == "" {
			p.s.cl.ResumeFetchPartitions(p.kafka())
		}
	}
	return taken
}

// read takes up to n records, decoded, and says which of them are in the queue already. It blocks
// while the registry or Postgres does not answer, as a stall; it returns nil where it must not go on.
func (p *partition) read(ctx context.Context, n int) []*item {
	raw := p.take(n)
	items := make([]*item, 0, len(raw))
	for _, r := range raw {
		it := &item{Record: p.record(r)}
		if !p.decode(ctx, it) {
			return nil
		}
		items = append(items, it)
	}
	if len(items) == 0 || items[0].Offset > p.queuedTop {
		return items
	}
	at, ok := insist(ctx, p, func() (map[int64]bool, error) {
		return p.s.e.store.QueuedAt(ctx, p.Place, items[0].Offset, items[len(items)-1].Offset)
	})
	if !ok {
		return nil
	}
	for _, it := range items {
		it.queued = at[it.Offset]
	}
	return items
}

// insist repeats a read until it answers; meanwhile the partition is stalled.
func insist[T any](ctx context.Context, p *partition, read func() (T, error)) (T, bool) {
	for n := 1; ; n++ {
		v, err := read()
		if err == nil {
			if n > 1 {
				p.resumed(stallRead)
			}
			return v, true
		}
		if !p.stalled(ctx, stallRead, n, "postgres unavailable", err) {
			return v, false
		}
	}
}

func (p *partition) record(r *kgo.Record) *Record {
	rec := &Record{
		Topic:     p.Topic,
		Partition: p.Part,
		Offset:    r.Offset,
		Time:      r.Timestamp.UTC(),
		Key:       r.Key,
		Value:     r.Value,
		Attempt:   1,
	}
	rec.Headers = make([]Header, len(r.Headers))
	for i, h := range r.Headers {
		rec.Headers[i] = Header(h)
	}
	return rec
}

// sawToken remembers that the token was seen by a look that began at t.
func (p *partition) sawToken(t time.Time) {
	at := int64(t.Sub(p.s.e.began))
	for {
		old := p.seen.Load()
		if at <= old || p.seen.CompareAndSwap(old, at) {
			return
		}
	}
}

// fresh is true where the token was seen at most fenceAge ago, on the monotonic clock (protocol.md 28).
func (p *partition) fresh(now time.Time) bool {
	return now.Sub(p.s.e.began)-time.Duration(p.seen.Load()) <= fenceAge
}

func (p *partition) log() *zap.Logger {
	return p.s.e.deps.Log.With(observe.Topic(p.Topic), observe.Partition(p.Part))
}
