// Package register is the list of destinations, one typed line each. It is a package of its own
// since the destinations' folders import consumers, which therefore cannot import them.
package register

import (
	"fmt"

	"conveyance/avro/topic"
	"conveyance/consumers"
	"conveyance/consumers/followupboss"
	"conveyance/consumers/timeline"
	"conveyance/consumers/warehouse"
)

// Destinations returns every destination with the topics that it reads; vendors are the sources
// whose snapshots there are. Two of one name are an error, as is a line without its parts.
func Destinations(vendors ...string) ([]consumers.Destination, error) {
	return build(
		reads(followupboss.Destination(), topic.Deals, topic.Contacts),
		reads(warehouse.Destination(), topic.Deals, topic.Contacts, topic.Links),
		reads(timeline.Destination(), append(snapshots(vendors), topic.Deals, topic.Contacts, topic.Links)...),
	)
}

func reads(d consumers.Destination, topics ...string) consumers.Destination {
	d.Topics = topics
	return d
}

func snapshots(vendors []string) []string {
	names := make([]string, len(vendors))
	for i, v := range vendors {
		names[i] = topic.Snapshots(v)
	}
	return names
}

func build(lines ...consumers.Destination) ([]consumers.Destination, error) {
	names := map[string]bool{}
	for i, d := range lines {
		switch {
		case d.Name == "" || len(d.Topics) == 0 || d.Migrations == nil:
			return nil, fmt.Errorf("destination %d of the register lacks its name, topics or migrations", i+1)
		case (d.Adapter == nil) == (d.Projection == nil):
			return nil, fmt.Errorf("destination %s is neither an adapter nor a projection, or both", d.Name)
		case names[d.Name]:
			return nil, fmt.Errorf("two destinations of the register are named %s", d.Name)
		}
		names[d.Name] = true
	}
	return lines, nil
}
