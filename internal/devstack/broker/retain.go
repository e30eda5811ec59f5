package broker

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"conveyance/internal/observe"
)

func retainForever(ctx context.Context, adm *kadm.Client, every time.Duration, log *zap.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := retain(ctx, adm, time.Now()); err != nil && ctx.Err() == nil {
			log.Warn("broker.retain", observe.Err(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// retain deletes the records that are older than their topic's own retention.ms, but never the last one
// of a partition: kfake forgets the end of an empty partition over a restart and counts from 0
// again, and a reader's stored offset would lie outside the log.
func retain(ctx context.Context, adm *kadm.Client, now time.Time) error {
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("listing topics: %w", err)
	}
	if len(topics) == 0 {
		return nil
	}
	configs, err := adm.DescribeTopicConfigs(ctx, topics.Names()...)
	if err != nil {
		return fmt.Errorf("reading retentions: %w", err)
	}
	for _, c := range configs {
		for _, e := range c.Configs {
			if e.Key != "retention.ms" || e.Value == nil || e.Source != kmsg.ConfigSourceDynamicTopicConfig {
				continue // kfake names its own 7 days where a topic has none
			}
			ms, err := strconv.ParseInt(*e.Value, 10, 64)
			if err != nil || ms < 0 {
				continue
			}
			if err := cut(ctx, adm, c.Name, now.UnixMilli()-ms); err != nil {
				return fmt.Errorf("deleting expired records of %s: %w", c.Name, err)
			}
		}
	}
	return nil
}

// cut deletes a topic's records before the first one of since.
func cut(ctx context.Context, adm *kadm.Client, topic string, since int64) error {
	keep, err := adm.ListOffsetsAfterMilli(ctx, since, topic)
	if err != nil {
		return err
	}
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	before := kadm.Offsets{}
	keep.Each(func(o kadm.ListedOffset) {
		end, _ := ends.Lookup(topic, o.Partition)
		start, _ := starts.Lookup(topic, o.Partition)
		if at := min(o.Offset, end.Offset-1); at > start.Offset {
			before.AddOffset(topic, o.Partition, at, -1)
		}
	})
	if len(before) == 0 {
		return nil
	}
	deleted, err := adm.DeleteRecords(ctx, before)
	if err != nil {
		return err
	}
	return deleted.Error()
}
