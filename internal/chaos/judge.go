package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/judge"
	"conveyance/internal/postgres"
)

// Judge looks once, at what stands.
func (b *Bus) Judge(ctx context.Context) (judge.Verdict, error) {
	bench, err := b.bench(ctx)
	if err != nil {
		return judge.Verdict{}, err
	}
	return judge.Judge(ctx, bench)
}

// Audit looks once, at what stands and at how it came: at all that was delivered, logged, recorded and
// asked. Sent are the lab's own deliveries; quota says that no call may have been one too many.
func (b *Bus) Audit(ctx context.Context, sent []judge.Sent, quota bool) (judge.Verdict, error) {
	bench, err := b.bench(ctx)
	if err != nil {
		return judge.Verdict{}, err
	}
	bench.Log, bench.Sent, bench.Since, bench.Quota = b.log(ctx, bench.Ends), sent, b.began, quota
	return judge.Judge(ctx, bench)
}

func (b *Bus) bench(ctx context.Context) (judge.Bench, error) {
	bench := judge.Bench{Pool: b.Pool, Sandbox: b.Info.Sandbox, Groups: map[string]string{}}
	rows, err := b.Pool.Query(ctx, sqlGroups)
	if err != nil {
		return bench, err
	}
	var name, schema string
	if _, err := pgx.ForEachRow(rows, []any{&name, &schema}, func() error {
		bench.Groups[name] = schema
		return nil
	}); err != nil {
		return bench, err
	}
	bench.Ends, err = b.Ends(ctx)
	return bench, err
}

// Ends are the ends of the log by "topic/partition", topics without prefix.
func (b *Bus) Ends(ctx context.Context) (map[string]int64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.seeds()...))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListEndOffsets(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking for the ends of the log: %w", err)
	}
	ends := map[string]int64{}
	listed.Each(func(o kadm.ListedOffset) {
		if at, ours := strings.CutPrefix(o.Topic, b.Info.TopicPrefix); ours {
			ends[fmt.Sprintf("%s/%d", at, o.Partition)] = o.Offset
		}
	})
	return ends, nil
}

func (b *Bus) seeds() []string { return strings.Split(b.Info.Kafka, ",") }

// Offsets calls see for each partition that a group has begun to read.
func (b *Bus) Offsets(ctx context.Context, group string, see func(place string, next int64)) error {
	rows, err := b.Pool.Query(ctx, postgres.In(group, sqlOffsets))
	if err != nil {
		return err
	}
	var topic string
	var part int32
	var next int64
	_, err = pgx.ForEachRow(rows, []any{&topic, &part, &next}, func() error {
		see(fmt.Sprintf("%s/%d", topic, part), next)
		return nil
	})
	return err
}

// watchEvery is how often the stored offsets are looked at.
const watchEvery = 20 * time.Millisecond

// Watch looks at every stored offset until stop, which returns each time that one fell: an owner
// that was fenced has written over its successor.
func (b *Bus) Watch(ctx context.Context) (stop func() []string) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var fell []string
	go func() {
		defer close(done)
		highest := map[string]int64{}
		for ctx.Err() == nil {
			for _, group := range Groups() {
				_ = b.Offsets(ctx, group, func(place string, next int64) { // a Postgres that is busy is looked at again
					place = group + " at " + place
					if next < highest[place] {
						fell = append(fell, fmt.Sprintf("%s fell from %d to %d", place, highest[place], next))
					}
					highest[place] = next
				})
			}
			Pause(ctx, watchEvery)
		}
	}()
	return func() []string {
		cancel()
		<-done
		return fell
	}
}

// settleEvery is how often Settle looks.
const settleEvery = 500 * time.Millisecond

// Settle waits until the judge finds nothing, or nothing has changed for patience, and returns the
// last verdict. Meanwhile it does the part of the person at night.
func (b *Bus) Settle(ctx context.Context, patience time.Duration) (judge.Verdict, error) {
	var v judge.Verdict
	var err error
	seen, since := "", time.Now()
	for time.Since(since) < patience && ctx.Err() == nil {
		if v, err = b.Judge(ctx); err == nil && v.Clean() {
			return v, nil
		}
		if _, worked := b.Operate(ctx); worked != nil {
			err = worked
		}
		if now := fmt.Sprint(v, err); now != seen {
			seen, since = now, time.Now()
		}
		Pause(ctx, settleEvery)
	}
	if err == nil {
		err = ctx.Err()
	}
	return v, err
}

// findingsShown of each sort are for a person.
const findingsShown = 8

// Findings are the first of each sort, a line each.
func Findings(v judge.Verdict) string {
	var b strings.Builder
	for _, f := range v.Findings() {
		for _, line := range f.All[:min(len(f.All), findingsShown)] {
			b.WriteString(f.Name + ": " + line + "\n")
		}
	}
	return b.String()
}
