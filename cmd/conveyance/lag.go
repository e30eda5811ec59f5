package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/fleet"
	"conveyance/internal/ledger"
)

const (
	// paceOver is how long the pace of a group that is behind is watched.
	paceOver = time.Second
	// oldestWithin is how long the oldest unhandled records may take to read.
	oldestWithin = 2 * time.Second
)

// behind is where a group stands in the partitions that it has not read to their ends.
type behind struct {
	records int64
	next    map[string]map[int32]kgo.Offset // by full topic name
}

// lagger measures groups against the ends of their logs: where they stand is truth in Postgres, not
// in Kafka.
type lagger struct {
	g    *globals
	pool *pgxpool.Pool
	adm  *kadm.Client
}

func (l lagger) of(ctx context.Context, gr fleet.Group) (b behind, err error) {
	b.next = map[string]map[int32]kgo.Offset{}
	at, err := ledger.Offsets(ctx, l.pool, gr.Schema)
	if err != nil {
		return b, err
	}
	stands := map[string]int64{}
	for _, o := range at {
		if o.Next != nil {
			stands[fmt.Sprint(l.g.TopicPrefix, o.Topic, "/", o.Partition)] = *o.Next
		}
	}
	topics := make([]string, len(gr.Topics))
	for i, t := range gr.Topics {
		topics[i] = l.g.TopicPrefix + t
	}
	ends, err := l.adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return b, err
	}
	starts, err := l.adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return b, err
	}
	ends.Each(func(e kadm.ListedOffset) {
		next, known := stands[fmt.Sprint(e.Topic, "/", e.Partition)]
		if s, ok := starts.Lookup(e.Topic, e.Partition); ok && !known {
			next = s.Offset
		}
		if e.Offset <= next {
			return
		}
		b.records += e.Offset - next
		if b.next[e.Topic] == nil {
			b.next[e.Topic] = map[int32]kgo.Offset{}
		}
		b.next[e.Topic][e.Partition] = kgo.NewOffset().At(next)
	})
	return b, nil
}

// status measures a group: a group that is behind is watched for paceOver.
func (l lagger) status(ctx context.Context, gr fleet.Group) (groupStatus, error) {
	st := groupStatus{Name: gr.Name}
	if len(gr.Topics) == 0 {
		return st, nil
	}
	first, err := l.of(ctx, gr)
	if err != nil {
		return st, fmt.Errorf("measuring the lag of %s: %w", gr.Name, err)
	}
	st.LagRecords = first.records
	if first.records == 0 {
		return st, nil
	}
	if oldest, ok := l.oldest(ctx, first); ok {
		age := time.Since(oldest).Seconds()
		st.LagSeconds = &age
	}
	select {
	case <-ctx.Done():
		return st, ctx.Err()
	case <-time.After(paceOver):
	}
	second, err := l.of(ctx, gr)
	if err != nil {
		return st, fmt.Errorf("measuring the lag of %s: %w", gr.Name, err)
	}
	if pace := float64(first.records-second.records) / paceOver.Seconds(); pace > 0 {
		eta := float64(second.records) / pace
		st.DrainETA = &eta
	}
	st.LagRecords = second.records
	return st, nil
}

// oldest is the time of the oldest record that the group has yet to handle; false where it could
// not be read in time.
func (l lagger) oldest(ctx context.Context, b behind) (time.Time, bool) {
	cl, err := l.g.kafkaClient(kgo.ConsumePartitions(b.next))
	if err != nil {
		return time.Time{}, false
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, oldestWithin)
	defer cancel()
	waiting := map[string]bool{}
	for t, ps := range b.next {
		for p := range ps {
			waiting[fmt.Sprint(t, "/", p)] = true
		}
	}
	var oldest time.Time
	for len(waiting) > 0 && ctx.Err() == nil {
		cl.PollFetches(ctx).EachPartition(func(p kgo.FetchTopicPartition) {
			place := fmt.Sprint(p.Topic, "/", p.Partition)
			if len(p.Records) == 0 || !waiting[place] {
				return
			}
			delete(waiting, place)
			if at := p.Records[0].Timestamp; oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		})
	}
	return oldest, !oldest.IsZero()
}
