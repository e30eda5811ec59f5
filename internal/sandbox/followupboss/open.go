package followupboss

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

const (
	// StageDefault is a new person's stage.
	StageDefault = "Lead"
	stageTrash   = "Trash"
	// FieldKey is the deal field that is there from the beginning.
	FieldKey = "customConveyanceKey"
)

// open takes an account in and makes what it holds from the beginning, where it is not there yet.
// What somebody deleted stays deleted.
func (f *api) open(a world.Account, cfg world.FUBConfig) error {
	apiKey := a.Credential["api_key"]
	if apiKey == "" {
		return fmt.Errorf("account %s: its credential lacks api_key", a.Key())
	}
	if other, taken := f.byKey[apiKey]; taken {
		return fmt.Errorf("accounts %s and %s have the same api_key", other.Key(), a.Key())
	}
	f.byKey[apiKey] = a
	for _, make := range []func(world.Account, world.FUBConfig) error{f.openUsers, f.openStages, f.openPipeline, f.openFields} {
		if err := make(a, cfg); err != nil {
			return fmt.Errorf("opening account %s: %w", a.Key(), err)
		}
	}
	return nil
}

func (f *api) openUsers(a world.Account, _ world.FUBConfig) error {
	users := []map[string]any{{"firstName": "Olive", "lastName": "Harrow", "email": "owner@" + a.Tenant + ".example.com", "role": "Broker", "isOwner": true}}
	for _, g := range world.Agents(a.Tenant) {
		users = append(users, map[string]any{"firstName": g.First, "lastName": g.Last, "email": g.Email, "phone": g.Phone, "role": "Agent", "isOwner": false})
	}
	for _, u := range users {
		u["name"], u["status"] = fmt.Sprint(u["firstName"], " ", u["lastName"]), "Active"
		if err := f.ensure(a, Users, "email", u); err != nil {
			return err
		}
	}
	return nil
}

// openStages makes the vendor's own stages and the tenant's.
func (f *api) openStages(a world.Account, cfg world.FUBConfig) error {
	names := []string{StageDefault, "Hot Prospect", "Nurture", "Active Client", "Pending", "Past Client", "Sphere", stageTrash}
	names = append(names, slices.Sorted(maps.Values(cfg.Stages))...)
	for i, name := range names {
		if err := f.ensure(a, Stages, "name", map[string]any{"name": name, "orderWeight": (i + 1) * 1000, "isProtected": name == StageDefault || name == stageTrash}); err != nil {
			return err
		}
	}
	return nil
}

// openPipeline makes one pipeline, in which the tenant's deal stages stand.
func (f *api) openPipeline(a world.Account, cfg world.FUBConfig) error {
	if len(f.base.Records.Now().List(a.Key(), Pipelines)) > 0 {
		return nil
	}
	names := append([]string{"Offer", "Pending", "Closed"}, slices.Sorted(maps.Values(cfg.DealStages))...)
	var stages []any
	seen := map[string]bool{}
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			stages = append(stages, map[string]any{"id": f.base.Records.NewID(), "name": name, "orderWeight": (len(stages) + 1) * 1000})
		}
	}
	return f.ensure(a, Pipelines, "name", map[string]any{"name": "Transactions", "orderWeight": 1000, "stages": stages})
}

func (f *api) openFields(a world.Account, _ world.FUBConfig) error {
	return f.ensure(a, DealCustomFields, "name", map[string]any{
		"name": FieldKey, "label": "Conveyance Key", "type": "text", "choices": []any{}, "orderWeight": 1000,
		"hideIfEmpty": false, "readOnly": false,
	})
}

// ensure makes a record unless one was ever made with the same value of a field.
func (f *api) ensure(a world.Account, kind, by string, body map[string]any) error {
	for _, rec := range f.base.Records.Now().List(a.Key(), kind) {
		if rec.Body[by] == body[by] {
			return nil
		}
	}
	_, err := f.create(a, kind, func(time.Time) map[string]any { return body })
	return err
}

// create makes a record with a new id.
func (f *api) create(a world.Account, kind string, body func(at time.Time) map[string]any) (records.Record, error) {
	id := f.base.Records.NewID()
	return f.base.Records.Put(key(a, kind, strconv.FormatInt(id, 10)), func(_ records.Record, at time.Time) (records.Change, error) {
		b := maps.Clone(body(at))
		b["id"] = id
		return records.Change{Body: b}, nil
	})
}
