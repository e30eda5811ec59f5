package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"conveyance/internal/fault"
	"conveyance/internal/ledger"
	"conveyance/internal/observe"
)

var (
	errTopicReplaced = errors.New("topic was made anew: the stored offset is of another log")
	errOutsideLog    = errors.New("stored offset outside the log")
	errLostTail      = errors.New("what was committed here is gone from Postgres")
)

const (
	// pingPulses is how many pulses pass between two questions whether a broker answers.
	pingPulses  = 5
	pingTimeout = 3 * time.Second
)

// mirrorTimeout bounds a mirroring: nothing waits for it.
const mirrorTimeout = 2 * time.Second

// mirrorData goes with every mirrored offset (protocol.md 49).
type mirrorData struct {
	Timeline int32 `json:"timeline"`
}

// pulses looks once a second for wishes, lost tokens and due read-backs, mirrors the offsets and
// counts. It is the only way in which an owner without records hears of anything.
func (s *session) pulses(ctx context.Context) {
	for n := 0; wait(ctx, pulseEvery); n++ {
		if n%pingPulses == 0 {
			if err := s.ping(ctx); err != nil {
				if ctx.Err() == nil {
					s.sick(err)
				}
				continue
			}
		}
		ps := s.all()
		if len(ps) == 0 {
			if s.e.joined() { // with nothing to do
				s.sick(nil)
			}
			continue
		}
		if err := s.pulse(ctx, ps); err != nil {
			if ctx.Err() == nil {
				s.sick(err)
			}
			continue
		}
		s.sick(nil)
		s.mirror(ctx, ps)
		s.recheck(ctx, ps)
		s.count(ps)
	}
}

// ping asks whether a broker answers: the client itself would wait for one without a word.
func (s *session) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := s.cl.Ping(ctx); err != nil {
		return fmt.Errorf("reaching Kafka: %w", err)
	}
	return nil
}

func (s *session) pulse(ctx context.Context, ps []*partition) error {
	byPlace := map[ledger.Place]*partition{}
	committed := map[ledger.Place]int64{} // at least
	var places []ledger.Place
	var foreign []ledger.ID
	for _, p := range ps {
		byPlace[p.Place] = p
		committed[p.Place] = p.numbered.Load()
		places = append(places, p.Place)
		foreign = append(foreign, p.foreignIDs()...)
	}
	began := time.Now()
	found, err := s.e.store.Pulse(ctx, places, foreign)
	if err != nil {
		return err
	}
	for _, p := range ps {
		if p.leaving() {
			continue // it may be somebody else's by now, or ours by another claim
		}
		now := found.Owners[p.Place]
		if now.Owner != p.owner && !fault.Broken("epoch not checked before the call") {
			s.fenced(p)
			return nil
		}
		if now.Seq < committed[p.Place] { // seen here, since an owner without records writes nothing (49)
			s.reopen(p, errLostTail)
			return nil
		}
		p.sawToken(began)
		p.settleForeign(found.Open)
	}
	for _, w := range found.Wishes {
		byPlace[w.Place].addWish(w)
	}
	if len(found.Readbacks) > 0 {
		s.lane.sweep(found.Readbacks)
	}
	return nil
}

// mirror commits the watermarks to Kafka for lag tools, with Postgres's timeline. Nothing is ever
// resumed from them (protocol.md 49).
func (s *session) mirror(ctx context.Context, ps []*partition) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	meta := map[ledger.Place]string{}
	for _, p := range ps {
		next := p.stored.Load()
		if p.mirrored.Swap(next) == next {
			continue
		}
		full := s.e.cfg.Prefix + p.Topic
		if offsets[full] == nil {
			offsets[full] = map[int32]kgo.EpochOffset{}
		}
		offsets[full][p.Part] = kgo.EpochOffset{Epoch: -1, Offset: next}
		data, err := json.Marshal(mirrorData{Timeline: p.timeline})
		if err != nil {
			return // a number always encodes
		}
		meta[p.Place] = string(data)
	}
	if len(offsets) == 0 {
		return
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				text := meta[ledger.Place{Topic: t.Topic[len(s.e.cfg.Prefix):], Part: t.Partitions[j].Partition}]
				t.Partitions[j].Metadata = &text
			}
		}
		return nil
	})
	if err := fault.At("mirror.before"); err != nil {
		s.unmirrored(err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mirrorTimeout)
	defer cancel()
	s.cl.CommitOffsetsSync(
		ctx,
		offsets,
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
			if err != nil && ctx.Err() == nil {
				s.unmirrored(err)
			}
		},
	)
	if err := fault.At("mirror.after"); err != nil {
		s.unmirrored(err)
	}
}

func (s *session) unmirrored(err error) { s.e.deps.Log.Debug("mirror.trouble", observe.Err(err)) }

// recheck lets partitions go on whose stored offset is in the log again, or was set anew: a new
// session claims and reads from there.
func (s *session) recheck(ctx context.Context, ps []*partition) {
	for _, p := range ps {
		cause := p.outside()
		if cause == "" || cause == errTopicReplaced.Error() || time.Since(p.checked) < stallCap {
			continue
		}
		p.checked = time.Now()
		full := s.e.cfg.Prefix + p.Topic
		start, err := s.adm.ListStartOffsets(ctx, full)
		if err != nil {
			return
		}
		end, err := s.adm.ListEndOffsets(ctx, full)
		if err != nil {
			return
		}
		from, _ := start.Lookup(full, p.Part)
		to, _ := end.Lookup(full, p.Part)
		if next := p.stored.Load(); next >= from.Offset && next <= to.Offset {
			s.reopen(p, errors.New("its offset is in the log again"))
			return
		}
	}
}

func (s *session) count(ps []*partition) {
	held := map[ledger.Kind]int64{ledger.Waiting: 0, ledger.HeldScope: 0, ledger.ParkedKey: 0}
	var lag int64
	stalled := 0
	for _, p := range ps {
		lag += max(0, p.high.Load()-p.stored.Load())
		if len(p.stallCauses()) > 0 {
			stalled++
		}
		for kind, n := range p.heldCounts() {
			held[kind] += n
		}
	}
	for kind, n := range held {
		s.e.m.held.WithLabelValues(kind.String()).Set(float64(n))
	}
	s.e.m.lag.Set(float64(lag))
	s.e.m.stalled.Set(float64(stalled))
}
