package topics

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"conveyance/avro/topic"
)

// Change is what Apply did with one topic.
type Change struct {
	Topic  string `json:"topic"`  // with prefix
	Action string `json:"action"` // "created", "configured" or "unchanged"
	Detail string `json:"detail"` // for people: the settings that were changed, from and to
}

// Apply creates what is missing and configures what differs, topic by topic in the table's order,
// and may be repeated. What it must not mend (partition counts, replication) is left as it is and
// returned as an error that joins the Differences, after everything else is done.
func Apply(ctx context.Context, adm *kadm.Client, want Want) ([]Change, error) {
	differences, err := Verify(ctx, adm, want)
	if err != nil {
		return nil, err
	}
	var changes []Change
	var left []error
	for _, t := range want.Table {
		change := Change{Topic: want.Prefix + t.Name, Action: "unchanged"}
		var alter []kadm.AlterConfig
		var told []string
		for _, d := range differences {
			switch {
			case d.Topic != change.Topic:
			case d.Remedy != remedyApply:
				left = append(left, d)
			case d.What == "topic":
				change.Action = "created"
			default:
				alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: d.What, Value: &d.Want})
				told = append(told, fmt.Sprintf("%s %s → %s", d.What, d.Have, d.Want))
			}
		}
		if change.Action == "created" {
			err = want.create(ctx, adm, t)
		} else if len(alter) > 0 {
			change.Action, change.Detail = "configured", strings.Join(told, ", ")
			err = configure(ctx, adm, change.Topic, alter)
		}
		if err != nil {
			return changes, err
		}
		changes = append(changes, change)
	}
	return changes, errors.Join(left...)
}

func (w Want) create(ctx context.Context, adm *kadm.Client, t topic.Topic) error {
	configs := map[string]*string{}
	for key, value := range w.configs(t) {
		configs[key] = &value
	}
	name := w.Prefix + t.Name
	partitions := int32(t.Partitions) //nolint:gosec // G115: a table's count
	_, err := adm.CreateTopic(ctx, partitions, w.Replication, configs, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) { // somebody made it a moment ago
		return fmt.Errorf("creating topic %s: %w", name, err)
	}
	return nil
}

func configure(ctx context.Context, adm *kadm.Client, name string, alter []kadm.AlterConfig) error {
	answers, err := adm.AlterTopicConfigs(ctx, alter, name)
	for _, a := range answers {
		err = errors.Join(err, a.Err)
	}
	if err != nil {
		return fmt.Errorf("configuring topic %s: %w", name, err)
	}
	return nil
}
