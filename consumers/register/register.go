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
	"conveyance/internal/tenant"
)

// Destinations returns every destination. Two of one name are an error. vendors are those whose
// snapshots the timeline tells.
func Destinations(vendors ...string) ([]consumers.Destination, error) {
	canonical := []string{topic.Deals, topic.Contacts}
	told := canonical
	for _, v := range vendors {
		told = append(told, topic.Snapshots(v))
	}
	return build(
		consumers.Destination{
			Name: followupboss.Name, Vendor: followupboss.Name, Topics: canonical, Migrations: followupboss.Migrations(),
			SettingsSchema: followupboss.SettingsSchema(), AccountSchema: followupboss.AccountSchema(),
			Adapter: func(d consumers.Deps) (consumers.Adapter, error) {
				return followupboss.New(d.Pool, d.Schema, d.HTTP), nil
			},
			Checker: func(d consumers.Deps) tenant.Checker { return followupboss.New(d.Pool, d.Schema, d.HTTP) },
		},
		consumers.Destination{
			Name: warehouse.Name, Topics: canonical, Migrations: warehouse.Migrations(),
			Projection: func(d consumers.Deps) (consumers.Projection, error) { return warehouse.New(d.Schema), nil },
		},
		consumers.Destination{
			Name: timeline.Name, Topics: told, Migrations: timeline.Migrations(),
			Projection: func(d consumers.Deps) (consumers.Projection, error) { return timeline.New(d.Schema), nil },
		},
	)
}

func build(lines ...consumers.Destination) ([]consumers.Destination, error) {
	names := map[string]bool{}
	for _, d := range lines {
		if names[d.Name] {
			return nil, fmt.Errorf("two destinations of the register are named %s", d.Name)
		}
		names[d.Name] = true
	}
	return lines, nil
}
