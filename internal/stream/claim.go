package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/fault"
	"conveyance/internal/ledger"
	"conveyance/internal/observe"
)

// claim takes newly assigned partitions over: token, then everything that the owner must know,
// then where to read on. An error makes the client rejoin after a while and claim again.
func (s *session) claim(
	ctx context.Context,
	assigned map[string]map[int32]kgo.Offset,
) (map[string]map[int32]kgo.Offset, error) {
	<-s.opened
	if err := fault.At("assign.before"); err != nil {
		return nil, err
	}
	var places []ledger.Place
	for t, parts := range assigned {
		for n := range parts {
			places = append(places, ledger.Place{Topic: t[len(s.e.cfg.Prefix):], Part: n})
		}
	}
	slices.SortFunc(places, comparePlaces)
	timeline, err := s.e.store.Timeline(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	claims, err := s.e.store.Claim(ctx, places, timeline)
	if err != nil {
		return nil, err
	}
	// What Kafka says is asked after the claim: from here on the former owner adds nothing (49).
	log, err := s.logs(ctx, claims)
	if err != nil {
		return nil, err
	}
	resolved := make([]ledger.Resolution, len(claims))
	for i, c := range claims {
		resolved[i] = log.resolve(c, timeline)
	}
	kept, err := s.e.store.Resolve(ctx, resolved)
	if err != nil {
		return nil, err
	}
	memory, err := s.e.store.Read(ctx, places) // after the claim (2)
	if err != nil {
		return nil, err
	}
	if err := fault.At("assign.after"); err != nil {
		return nil, err
	}
	for i, c := range claims {
		if !kept[c.Place] {
			return nil, fmt.Errorf("claiming %s: another owner has claimed it meanwhile", c.Place)
		}
		p := s.partition(c, resolved[i], memory[c.Place], timeline, began)
		s.cl.PauseFetchPartitions(p.kafka()) // until the poll loop lets it through
		if cause := log.objection(c, p.next); cause != nil {
			p.setStall(stallLog, cause.Error(), cause)
		}
		assigned[s.e.cfg.Prefix+c.Topic][c.Part] = kgo.NewOffset().At(p.next).WithEpoch(-1)
		s.mu.Lock()
		s.pending = append(s.pending, p)
		if s.wake != nil {
			s.wake()
		}
		s.mu.Unlock()
		p.log().Info("partition.claimed", observe.Offset(p.next))
	}
	s.join()
	return assigned, nil
}

func comparePlaces(a, b ledger.Place) int {
	if a.Topic != b.Topic {
		return len(a.Topic) - len(b.Topic)
	}
	return int(a.Part - b.Part)
}

func (s *session) partition(
	c ledger.Claim,
	r ledger.Resolution,
	m *ledger.Memory,
	timeline int32,
	began time.Time,
) *partition {
	p := &partition{
		Place:      c.Place,
		s:          s,
		owner:      c.Owner,
		claimedAt:  time.Now(),
		doubtUntil: r.DoubtUntil,
		queuedTop:  m.QueuedTop,
		seq:        1,
		next:       r.Next,
		queue:      newQueue(c.Place, m.Keys),
		busy:       m.Busy,
		timeline:   timeline,
		stalls:     map[string]string{},
		signal:     make(chan struct{}, 1),
		leave:      make(chan struct{}),
		left:       make(chan struct{}),
	}
	p.stored.Store(p.next)
	p.numbered.Store(p.seq)
	p.mirrored.Store(-1)
	p.sawToken(began)
	return p
}

// logs is what Kafka says about the partitions that are claimed.
type logs struct {
	start, end, at kadm.ListedOffsets
	topics         kadm.TopicDetails
	mirror         kadm.OffsetResponses
	prefix         string
	from           Start
}

func (s *session) logs(ctx context.Context, claims []ledger.Claim) (l logs, err error) {
	l.prefix, l.from = s.e.cfg.Prefix, s.e.cfg.Start
	var topics []string
	unread := false
	for _, c := range claims {
		topics = append(topics, l.prefix+c.Topic)
		unread = unread || c.Next == nil
	}
	slices.Sort(topics)
	topics = slices.Compact(topics)
	if l.topics, err = s.adm.ListTopics(ctx, topics...); err != nil {
		return l, fmt.Errorf("reading the topics' ids: %w", err)
	}
	if l.start, err = s.adm.ListStartOffsets(ctx, topics...); err != nil {
		return l, fmt.Errorf("reading where the logs begin: %w", err)
	}
	if l.end, err = s.adm.ListEndOffsets(ctx, topics...); err != nil {
		return l, fmt.Errorf("reading where the logs end: %w", err)
	}
	if unread && !l.from.At.IsZero() {
		if l.at, err = s.adm.ListOffsetsAfterMilli(ctx, l.from.At.UnixMilli(), topics...); err != nil {
			return l, fmt.Errorf("reading where %s is in the logs: %w", l.from.At.UTC().Format(time.RFC3339), err)
		}
	}
	if l.mirror, err = s.adm.FetchOffsetsForTopics(ctx, l.prefix+s.e.cfg.Group, topics...); err != nil {
		return l, fmt.Errorf("reading the mirrored offsets: %w", err)
	}
	for _, c := range claims {
		for _, listed := range []kadm.ListedOffsets{l.start, l.end} {
			if o, ok := listed.Lookup(l.prefix+c.Topic, c.Part); !ok || o.Err != nil {
				return l, fmt.Errorf("reading the log of %s: %w", c.Place, o.Err)
			}
		}
	}
	return l, nil
}

// resolve is where a claim begins, and up to where it is in doubt.
func (l logs) resolve(c ledger.Claim, timeline int32) ledger.Resolution {
	full := l.prefix + c.Topic
	start, _ := l.start.Lookup(full, c.Part)
	end, _ := l.end.Lookup(full, c.Part)
	r := ledger.Resolution{
		Place:      c.Place,
		Owner:      c.Owner,
		TopicID:    uuid.UUID(l.topics[full].ID),
		DoubtUntil: c.DoubtUntil,
	}
	switch {
	case c.Next != nil:
		r.Next = *c.Next
	case !l.from.At.IsZero():
		at, _ := l.at.Lookup(full, c.Part)
		r.Next = at.Offset
	case l.from.Latest, fault.Broken("offset reset to latest"):
		r.Next = end.Offset
	default:
		r.Next = start.Offset
	}
	m, ok := l.mirror.Lookup(full, c.Part)
	if !ok || m.Err != nil || m.At < 0 {
		return r
	}
	// Postgres was rolled back, or failed over and may have been: a record without a row is not
	// known to be new (49). A person's rewind leaves the mirror above without harm.
	var was mirrorData
	if json.Unmarshal([]byte(m.Metadata), &was) != nil {
		return r // written by a tool, not by an owner
	}
	if was.Timeline != timeline || m.At > max(r.Next, c.RewoundFrom) {
		r.DoubtUntil = max(r.DoubtUntil, end.Offset)
	}
	return r
}

// objection is why the partition must not be read from next on; nil where it may.
func (l logs) objection(c ledger.Claim, next int64) error {
	full := l.prefix + c.Topic
	if id := uuid.UUID(l.topics[full].ID); c.TopicID != uuid.Nil && id != c.TopicID {
		return errTopicReplaced
	}
	start, _ := l.start.Lookup(full, c.Part)
	end, _ := l.end.Lookup(full, c.Part)
	if next < start.Offset || next > end.Offset {
		return errOutsideLog
	}
	return nil
}
