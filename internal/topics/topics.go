// Package topics makes the topics of avro/topic on a cluster and says where the cluster differs from
// them. It creates and configures; it never deletes a topic, and never alters a partition count
// (protocol.md 17). Operators' commands and up call it.
package topics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"conveyance/avro/topic"
)

// inSyncAmongThree is min.insync.replicas where there are three replicas or more: an acknowledged
// record then outlives any one broker, and writes go on without any one.
const (
	minInSync        = "min.insync.replicas"
	inSyncAmongThree = "2"
)

// Want is what a cluster should hold.
type Want struct {
	Prefix      string        // before every name
	Table       []topic.Topic // as topic.Table makes it
	Replication int16         // copies of each partition; -1 = the cluster's default, not compared
}

// configs are the topic's settings in Kafka's own names.
func (w Want) configs(t topic.Topic) map[string]string {
	c := map[string]string{
		"cleanup.policy":    "delete",
		"retention.ms":      "-1",
		"max.message.bytes": strconv.Itoa(t.BytesMax),
	}
	if t.Compact {
		c["cleanup.policy"] = "compact"
	}
	if t.Retention != topic.Forever {
		c["retention.ms"] = strconv.FormatInt(t.Retention.Milliseconds(), 10)
	}
	if w.Replication >= 3 {
		c[minInSync] = inSyncAmongThree
	}
	return c
}

// Difference is one way in which a topic is not as it should be.
type Difference struct {
	Topic  string `json:"topic"` // with prefix
	What   string `json:"what"`  // "topic", "partitions", "replication", or a setting in Kafka's name
	Want   string `json:"want"`
	Have   string `json:"have"`
	Remedy string `json:"remedy"`
}

func (d Difference) Error() string {
	return fmt.Sprintf("topic %s: %s is %s, not %s: %s", d.Topic, d.What, d.Have, d.Want, d.Remedy)
}

const (
	remedyApply      = "run conveyance topics apply"
	remedyPartitions = "never alter the count, or records of one key stand in two partitions: either name the count " +
		"that is there, or fill the topic's next version (deals.v2 for deals.v1) by re-translation, drain and stop " +
		"the old groups, then start the new ones"
	remedyReplication = "reassign the partitions with the cluster's own tools"
)

// Verify lists every difference, in the order of the table; none is an empty list.
func Verify(ctx context.Context, adm *kadm.Client, want Want) ([]Difference, error) {
	names := make([]string, len(want.Table))
	for i, t := range want.Table {
		names[i] = want.Prefix + t.Name
	}
	if len(names) == 0 {
		return []Difference{}, nil
	}
	there, err := fromCluster(ctx, adm, names...)
	if err != nil {
		return nil, err
	}
	configs, err := readConfigs(ctx, adm, there)
	if err != nil {
		return nil, err
	}
	found := []Difference{}
	for i, t := range want.Table {
		d, err := want.compare(t, there[names[i]], configs[names[i]])
		if err != nil {
			return nil, err
		}
		found = append(found, d...)
	}
	return found, nil
}

// fromCluster reads topics, or all of them. Asking for the rights as well makes the client ask the
// cluster: its own memory may be older than what Apply did a moment ago.
func fromCluster(ctx context.Context, adm *kadm.Client, names ...string) (kadm.TopicDetails, error) {
	there, err := adm.ListTopics(kadm.WithAuthorizedOps(ctx), names...)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	return there, nil
}

func (w Want) compare(t topic.Topic, there kadm.TopicDetail, configs map[string]string) ([]Difference, error) {
	name := w.Prefix + t.Name
	if errors.Is(there.Err, kerr.UnknownTopicOrPartition) || there.Topic == "" {
		return []Difference{{Topic: name, What: "topic", Want: "there", Have: "missing", Remedy: remedyApply}}, nil
	}
	if there.Err != nil {
		return nil, fmt.Errorf("reading topic %s: %w", name, there.Err)
	}
	var found []Difference
	if have := len(there.Partitions); have != t.Partitions {
		found = append(found, differ(name, "partitions", t.Partitions, have, remedyPartitions))
	}
	copies := there.Partitions.NumReplicas()
	if w.Replication > 0 && copies != int(w.Replication) {
		found = append(found, differ(name, "replication", int(w.Replication), copies, remedyReplication))
	}
	for _, key := range settings {
		value, set := w.configs(t)[key]
		if key == minInSync && copies < 3 {
			continue // with fewer copies than it asks for, nothing could be written any more
		}
		if set && configs[key] != value {
			found = append(found, Difference{name, key, value, configs[key], remedyApply})
		}
	}
	return found, nil
}

func differ(name, what string, want, have int, remedy string) Difference {
	return Difference{name, what, strconv.Itoa(want), strconv.Itoa(have), remedy}
}

// settings in the order in which they are told.
var settings = []string{"cleanup.policy", "retention.ms", "max.message.bytes", minInSync}

func readConfigs(ctx context.Context, adm *kadm.Client, there kadm.TopicDetails) (map[string]map[string]string, error) {
	names := slices.DeleteFunc(there.Names(), func(name string) bool { return there[name].Err != nil })
	if len(names) == 0 {
		return nil, nil
	}
	resources, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("reading topic settings: %w", err)
	}
	configs := map[string]map[string]string{}
	for _, r := range resources {
		if r.Err != nil {
			return nil, fmt.Errorf("reading the settings of topic %s: %w", r.Name, r.Err)
		}
		configs[r.Name] = map[string]string{}
		for _, c := range r.Configs {
			configs[r.Name][c.Key] = strings.TrimSpace(c.MaybeValue())
		}
	}
	return configs, nil
}
