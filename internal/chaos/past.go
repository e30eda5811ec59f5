package chaos

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/postgres"
)

// Past lets the past come back: the ledgers' rows are dropped, and the older half of each key's
// records comes again behind the newest, as from a translate that slept longer than ledgers are
// kept. Nothing but the guard by revision stands between them and the destinations.
func (b *Bus) Past(ctx context.Context) (records int, err error) {
	for _, group := range []string{"followupboss", "warehouse", "timeline"} {
		for _, sql := range []string{sqlGap, sqlDrop} {
			if _, err := b.Pool.Exec(ctx, postgres.In(group, sql)); err != nil {
				return 0, fmt.Errorf("emptying the ledger of %s: %w", group, err)
			}
		}
	}
	old, err := b.older(ctx, b.Info.TopicPrefix+"deals.v1", b.Info.TopicPrefix+"contacts.v1")
	if err != nil {
		return 0, err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.seeds()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	return len(old), cl.ProduceSync(ctx, old...).FirstErr()
}

// older is the first half of every key's records, in the log's order.
func (b *Bus) older(ctx context.Context, topics ...string) ([]*kgo.Record, error) {
	all, err := b.Read(ctx, topics...)
	if err != nil {
		return nil, err
	}
	count, seen := map[string]int{}, map[string]int{}
	key := func(r *kgo.Record) string { return fmt.Sprint(r.Topic, r.Partition, string(r.Key)) }
	for _, r := range all {
		count[key(r)]++
	}
	var old []*kgo.Record
	for _, r := range all {
		if seen[key(r)]++; seen[key(r)] <= count[key(r)]/2 {
			old = append(old, &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers})
		}
	}
	return old, nil
}

// Read is every record of the topics (with their prefix), to the ends that they have now.
func (b *Bus) Read(ctx context.Context, topics ...string) ([]*kgo.Record, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.seeds()...), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	var all []*kgo.Record
	for int64(len(all)) < left {
		fetched := cl.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("reading %v: %w", topics, err)
		}
		all = append(all, fetched.Records()...)
	}
	return all, nil
}
