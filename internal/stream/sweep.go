package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/ledger"
	"conveyance/internal/observe"
)

// sweepTimeout bounds one look back: a record read from the log, a plan and a read-back.
const sweepTimeout = 20 * time.Second

var errNoRecord = errors.New("the log no longer has the record")

// sweep reads effects back that were sent after a read-back: a call of a former owner may have
// landed beside ours (protocol.md 36). It decides nothing; what it finds twice is flagged.
func (k *keyed) sweep(due []ledger.Readback) {
	k.post(func() {
		for _, b := range due {
			for _, w := range k.parts {
				if w.Place == b.Place && !w.leaving && !w.lost {
					k.lookBack(w, b)
				}
			}
		}
	})
}

func (k *keyed) lookBack(w *window, b ledger.Readback) {
	w.jobs++
	k.s.work.Go(func() {
		ctx, cancel := context.WithTimeout(k.s.hard, sweepTimeout)
		defer cancel()
		found, err := k.seen(ctx, w.partition, b)
		k.post(func() {
			w.jobs--
			next := ledger.Readback{
				Place: b.Place,
				ID:    b.ID,
				Pos:   b.Pos,
				Round: b.Round + 1,
				Due:   time.Now().Add(readbackSecond),
			}
			switch {
			case found == ledger.Doubled:
				k.flag(w, b.ID, fmt.Sprintf("found twice in sweep %d", b.Round))
				next.Round = 0
			case err != nil && !errors.Is(err, errNoRecord):
				w.log().Info("sweep.trouble", observe.EventID(b.EID.String()), observe.Err(err))
				next.Round, next.Due = b.Round, time.Now().Add(readbackFirst)
			case b.Round > 1 || err != nil:
				next.Round = 0
			}
			if !w.lost {
				w.out.Readbacks = append(w.out.Readbacks, next)
				w.touch()
			}
			k.left(w)
		})
	})
}

// seen reads one effect back from its record in the log.
func (k *keyed) seen(ctx context.Context, p *partition, b ledger.Readback) (ledger.Outcome, error) {
	raw, err := k.s.fetch(ctx, p, b.Pos)
	if err != nil {
		return ledger.CannotTell, err
	}
	it := &item{Record: p.record(raw)}
	if !p.decode(ctx, it) || it.decided != nil {
		return ledger.CannotTell, errNoRecord
	}
	effects, err := k.h.Plan(ctx, it.Record)
	if err != nil {
		return ledger.CannotTell, fmt.Errorf("planning %s at %d again: %w", p.Place, b.Pos, err)
	}
	for _, f := range effects {
		if f.Step() == b.Step {
			return k.h.Confirm(ctx, it.Record, f)
		}
	}
	return ledger.CannotTell, errNoRecord
}

// fetch reads one record of the log with a client of its own.
func (s *session) fetch(ctx context.Context, p *partition, pos int64) (*kgo.Record, error) {
	full := s.e.cfg.Prefix + p.Topic
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, s.e.deps.Kafka...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{full: {p.Part: kgo.NewOffset().At(pos)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // a record that is gone is not another record
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
	)...)
	if err != nil {
		return nil, fmt.Errorf("making a client to read one record: %w", err)
	}
	defer cl.Close()
	fetches := cl.PollRecords(ctx, 1)
	if err := fetches.Err(); err != nil {
		if ctx.Err() == nil {
			return nil, fmt.Errorf("%w: %w", errNoRecord, err)
		}
		return nil, fmt.Errorf("reading %s at %d: %w", p.Place, pos, err)
	}
	for _, r := range fetches.Records() {
		if r.Offset == pos {
			return r, nil
		}
	}
	return nil, errNoRecord
}
