package topics

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Info is one topic as it is.
type Info struct {
	Topic       string `json:"topic"` // with prefix
	Partitions  int    `json:"partitions"`
	Replication int    `json:"replication"`
	Records     int64  `json:"records"`      // end minus start; more than there are where the topic is compacted
	Bytes       *int64 `json:"bytes"`        // of one copy on the brokers' disks; null where we may not ask
	Retention   int64  `json:"retention_ms"` // -1 = kept
	Cleanup     string `json:"cleanup"`      // delete or compact
	BytesMax    int64  `json:"bytes_max"`    // of one message
}

// List tells of every topic whose name begins with the prefix, ours or not, by name.
func List(ctx context.Context, adm *kadm.Client, prefix string) ([]Info, error) {
	all, err := fromCluster(ctx, adm)
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(all.Names(), func(name string) bool { return !strings.HasPrefix(name, prefix) })
	list := make([]Info, 0, len(names))
	if len(names) == 0 {
		return list, nil // no names would mean all topics below
	}
	there := kadm.TopicDetails{}
	for _, name := range names {
		there[name] = all[name]
	}
	configs, err := readConfigs(ctx, adm, there)
	if err != nil {
		return nil, err
	}
	records, err := countRecords(ctx, adm, names)
	if err != nil {
		return nil, err
	}
	bytes := sizes(ctx, adm, there)
	for _, name := range names {
		info := Info{
			Topic: name, Partitions: len(there[name].Partitions), Replication: there[name].Partitions.NumReplicas(),
			Records: records[name], Cleanup: configs[name]["cleanup.policy"],
		}
		info.Retention, _ = strconv.ParseInt(configs[name]["retention.ms"], 10, 64)
		info.BytesMax, _ = strconv.ParseInt(configs[name]["max.message.bytes"], 10, 64)
		if n, ok := bytes[name]; ok {
			info.Bytes = &n
		}
		list = append(list, info)
	}
	return list, nil
}

func countRecords(ctx context.Context, adm *kadm.Client, names []string) (map[string]int64, error) {
	starts, err := adm.ListStartOffsets(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("reading log starts: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("reading log ends: %w", err)
	}
	n := map[string]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok && end.Err == nil && start.Err == nil {
			n[end.Topic] += end.Offset - start.Offset
		}
	})
	return n, nil
}

// sizes asks the brokers for their log folders, which takes a right that an operator may lack: then
// there are none. A partition counts once, at its largest copy.
func sizes(ctx context.Context, adm *kadm.Client, there kadm.TopicDetails) map[string]int64 {
	dirs, err := adm.DescribeAllLogDirs(ctx, there.TopicsSet())
	if err != nil {
		return nil
	}
	largest := map[string]map[int32]int64{}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if largest[p.Topic] == nil {
				largest[p.Topic] = map[int32]int64{}
			}
			largest[p.Topic][p.Partition] = max(largest[p.Topic][p.Partition], p.Size)
		})
	})
	sums := map[string]int64{}
	for name, parts := range largest {
		for _, n := range parts {
			sums[name] += n
		}
	}
	return sums
}
