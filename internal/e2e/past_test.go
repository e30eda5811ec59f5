package e2e

import (
	"context"
	"fmt"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/postgres"
)

// Written as a purge writes it: the gap first, then every row that has ended. Whole tables, in a
// test's own database.
const (
	sqlGap = `
INSERT INTO {schema}.ledger_gap (tenant, month)
SELECT DISTINCT t.id, date_trunc('month', l.done_at)::date
  FROM {schema}.ledger l CROSS JOIN conveyance.tenant t
 WHERE l.done_at IS NOT NULL
ON CONFLICT DO NOTHING`

	sqlDrop = `DELETE FROM {schema}.ledger WHERE done_at IS NOT NULL`
)

// past lets the past come back: the ledgers' rows are dropped, and the older half of each key's
// records comes again behind the newest, as from a translate that slept longer than ledgers are
// kept. Nothing but the guard by revision stands between them and the destinations.
func (b *bus) past(ctx context.Context) (records int) {
	b.t.Helper()
	for _, group := range []string{"followupboss", "warehouse", "timeline"} {
		for _, sql := range []string{sqlGap, sqlDrop} {
			_, err := b.pool.Exec(ctx, postgres.In(group, sql))
			require.NoError(b.t, err)
		}
	}
	old := b.older(ctx, b.info.TopicPrefix+"deals.v1", b.info.TopicPrefix+"contacts.v1")
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.info.Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(b.t, err)
	defer cl.Close()
	require.NoError(b.t, cl.ProduceSync(ctx, old...).FirstErr())
	return len(old)
}

// older is the first half of every key's records, in the log's order.
func (b *bus) older(ctx context.Context, topics ...string) []*kgo.Record {
	b.t.Helper()
	all := b.read(ctx, topics...)
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
	return old
}

// read is every record of the topics, to the ends that they have now.
func (b *bus) read(ctx context.Context, topics ...string) []*kgo.Record {
	b.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.info.Kafka), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(b.t, err)
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	require.NoError(b.t, err)
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	var all []*kgo.Record
	for int64(len(all)) < left {
		fetched := cl.PollFetches(ctx)
		require.NoError(b.t, fetched.Err())
		all = append(all, fetched.Records()...)
	}
	return all
}
