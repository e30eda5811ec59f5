package fetch

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/fault"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

const (
	// chunkRecords and chunkBytes bound what a poll has in hand: whichever comes first is published
	// and recorded. 200 rows are where unnest gains little more; 8 MiB are two of the largest snapshots.
	chunkRecords = 200
	chunkBytes   = 8 << 20
)

// sink takes what a poll yields, chunk by chunk.
type sink struct {
	f     *Fetch
	who   account
	lane  lane
	facts []event.VendorSnapshot
	hints []hint
	bytes int
	err   error // the first; nothing is taken after it
}

func (s *sink) yield(ctx context.Context, c producers.Change) error {
	if s.err != nil {
		return s.err
	}
	if accountOf(c.Resource) != s.who || (c.Fact != nil && c.Fact.Resource != c.Resource) {
		s.err = verdict.Parked("vendor's folder yielded another account's record",
			fmt.Errorf("polling %s, got %s", s.who.key(), c.Resource.Key()))
		return s.err
	}
	if c.Fact == nil {
		s.hints = append(s.hints, hint{resource: c.Resource, lane: s.lane, wanted: c.Version, by: "poll"})
	} else {
		fact := *c.Fact
		fact.Lane = s.lane.String()
		s.facts = append(s.facts, fact)
		s.bytes += snapshotBytes(&fact)
	}
	if len(s.facts)+len(s.hints) >= chunkRecords || s.bytes >= chunkBytes {
		return s.flush(ctx)
	}
	return nil
}

// flush starts the facts, publishes them, and records them and the hints in one transaction.
func (s *sink) flush(ctx context.Context) error {
	if s.err == nil {
		s.err = s.pass(ctx)
	}
	s.facts, s.hints, s.bytes = nil, nil, 0
	return s.err
}

func (s *sink) pass(ctx context.Context) error {
	in, err := s.f.begin(ctx, s.facts, nil, "poll")
	if err != nil {
		return err
	}
	if err := s.publish(ctx, &in); err != nil {
		return err
	}
	hints := slices.Concat(s.hints, in.hints)
	if len(in.begun)+len(hints) == 0 {
		return nil
	}
	now := s.f.cfg.Now()
	err = postgres.Tx(ctx, s.f.store.pool, func(tx pgx.Tx) error {
		if err := s.f.finish(ctx, tx, in.begun); err != nil {
			return err
		}
		return s.f.store.mark(ctx, tx, hints, now)
	})
	if err != nil {
		return fmt.Errorf("recording a chunk of %s: %w", s.who.key(), err)
	}
	s.f.metrics.came(s.who.vendor, in)
	if len(hints) > 0 {
		s.f.wakeWorkers()
	}
	return nil
}

// publish sends a chunk's facts. Where one of them fits no topic, none is sent and all become hints:
// read one by one, the others get through, and that one parks alone.
func (s *sink) publish(ctx context.Context, in *incoming) error {
	if len(in.begun) == 0 {
		return nil
	}
	outs := make([]stream.Out, len(in.begun))
	for i, b := range in.begun {
		outs[i] = hinted(out(b), "poll", b.ReadAt)
	}
	err := s.f.publish.Publish(ctx, outs...)
	if err == nil {
		err = fault.At("poll.published")
	}
	if err == nil {
		return nil
	}
	if verdict.Of(err).Kind != verdict.Park {
		return fmt.Errorf("publishing %d records: %w", len(outs), err)
	}
	for _, b := range in.begun {
		in.hints = append(in.hints, hint{resource: b.Resource, lane: s.lane, wanted: b.Version, by: "poll"})
	}
	in.begun = nil
	return nil
}
