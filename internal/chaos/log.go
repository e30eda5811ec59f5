package chaos

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/judge"
)

// log is what the topics hold that the judge follows: deliveries and events, up to ends.
func (b *Bus) log(ctx context.Context, ends map[string]int64) iter.Seq2[judge.Entry, error] {
	return func(yield func(judge.Entry, error) bool) {
		var topics []string
		seen, left := map[string]bool{}, int64(0)
		for place, end := range ends {
			topic, _, _ := strings.Cut(place, "/")
			if strings.HasPrefix(topic, "snapshots.") || end == 0 {
				continue
			}
			left += end
			if !seen[topic] {
				seen[topic] = true
				topics = append(topics, b.Info.TopicPrefix+topic)
			}
		}
		if left == 0 {
			return
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.seeds()...), kgo.ConsumeTopics(topics...),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			yield(judge.Entry{}, err)
			return
		}
		defer cl.Close()
		for left > 0 {
			fetched := cl.PollFetches(ctx)
			if err := fetched.Err(); err != nil {
				yield(judge.Entry{}, fmt.Errorf("reading the log: %w", err))
				return
			}
			for _, r := range fetched.Records() {
				e := entry(r, b.Info.TopicPrefix)
				if e.Offset >= ends[fmt.Sprintf("%s/%d", e.Topic, e.Part)] {
					continue // it came meanwhile
				}
				if left--; !yield(e, nil) {
					return
				}
			}
		}
	}
}

func entry(r *kgo.Record, prefix string) judge.Entry {
	e := judge.Entry{
		Topic: strings.TrimPrefix(r.Topic, prefix), Part: r.Partition, Offset: r.Offset, At: r.Timestamp,
		Key: string(r.Key), Value: r.Value,
	}
	for _, h := range r.Headers {
		if h.Key == "ce_id" {
			e.ID = string(h.Value)
		}
	}
	return e
}
