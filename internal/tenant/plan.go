package tenant

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"conveyance/internal/verdict"
)

// step is one row to write.
type step struct {
	sql    string
	args   []any
	secret []byte // to seal and add to args
	of     []byte // what the secret is of
}

// planner compares what is wanted with what is known. It is pure.
type planner struct {
	now      time.Time
	known    *known
	by       string
	steps    []step
	result   Result
	problems Problems
}

func (p *planner) tenant(w Wanted) {
	if w.System != "" {
		p.webhookKeys(keyring{vendor: w.System}, w.System, w.Keys)
		return
	}
	before := len(p.result.Changes)
	t := p.known.tenants[w.ID]
	isNew := t == nil
	if isNew {
		t = &stored{Tenant: Tenant{ID: w.ID}}
		p.change(w.ID, "tenant", "", "add", strconv.Quote(w.Name))
		p.wake(verdict.TenantScope(w.ID))
	} else if what := differ("name", t.Name, w.Name, "time_zone", t.TimeZone, w.TimeZone); len(what) > 0 {
		p.change(w.ID, "tenant", "", "change", what...)
	}
	at := len(p.steps)
	p.accounts(t, w)
	p.adapters(t, w)
	if len(p.result.Changes) == before {
		return
	}
	row := step{sql: sqlPutTenant, args: []any{w.ID, w.Name, w.TimeZone, nil, t.Version + 1}}
	if isNew {
		row.secret, row.of = newPseudonymKey(), pseudonymOf(w.ID)
	}
	p.steps = slices.Insert(p.steps, at, row)
	p.steps = append(p.steps, step{sql: sqlPutConfig, args: []any{w.ID, t.Version + 1, p.by, w.config()}})
}

func (p *planner) accounts(t *stored, w Wanted) {
	for _, a := range w.Accounts {
		old, ok := t.Account(a.Vendor, a.Name)
		what := differ("external_id", old.ExternalID, a.ExternalID, "base_url", old.BaseURL, a.BaseURL)
		what = append(what, differJSON("settings", old.Settings, a.Settings)...)
		put := step{sql: sqlPutAccount, args: []any{w.ID, a.Vendor, a.Name, a.ExternalID, a.BaseURL, canonical(a.Settings)}}
		mended := step{sql: sqlHealth, args: []any{w.ID, a.Vendor, a.Name, false, ""}}
		scope := verdict.AccountScope(w.ID, a.Vendor, a.Name)
		switch {
		case !ok:
			p.change(w.ID, "account", a.Key(), "add", fmt.Sprintf("external_id %q at %s", a.ExternalID, a.BaseURL))
			p.steps = append(p.steps, put)
			p.wake(scope, verdict.TenantScope(w.ID)) // who found no account waits for the tenant
		case len(what) > 0:
			p.change(w.ID, "account", a.Key(), "change", what...)
			p.steps = append(p.steps, put, mended)
			p.wake(scope)
		}
		p.endpoint(w.ID, a, old, ok)
		p.webhookKeys(keyring{a.Vendor, w.ID, a.Name}, a.Key(), a.Keys)
		if ok && maps.Equal(old.Credential.Fields, a.Credential) {
			continue
		}
		if ok {
			p.change(w.ID, "credential", a.Key(), "change", "from "+a.Source)
		}
		p.steps = append(p.steps, step{
			sql: sqlPutCredential, args: []any{w.ID, a.Vendor, a.Name, nil, a.Source},
			secret: fields(a.Credential), of: credentialOf(w.ID + "/" + a.Key()),
		}, mended)
		p.wake(scope)
	}
	for _, old := range t.Accounts {
		if !slices.ContainsFunc(w.Accounts, func(a WantedAccount) bool { return a.Vendor == old.Vendor && a.Name == old.Name }) {
			p.change(w.ID, "account", old.Vendor+"/"+old.Name, "remove")
			p.steps = append(p.steps, step{sql: sqlDropAccount, args: []any{w.ID, old.Vendor, old.Name}})
		}
	}
}

func (p *planner) adapters(t *stored, w Wanted) {
	for _, name := range slices.Sorted(maps.Keys(w.Adapters)) {
		a := w.Adapters[name]
		old, ok := t.Adapters[name]
		seen := ok
		if !ok {
			old, seen = t.removed[name]
		}
		from := a.EffectsFrom
		switch {
		case seen && !from.IsZero() && from.Before(old.EffectsFrom):
			p.problems = append(p.problems, Problem{
				Place: a.At,
				What: fmt.Sprintf("effects_from of %s moves back from %s to %s",
					name, old.EffectsFrom.Format(time.RFC3339), from.UTC().Format(time.RFC3339)),
				Remedy: "leave it; only a replay applies older changes",
			})
			continue
		case ok && from.IsZero():
			from = old.EffectsFrom
		case from.IsZero():
			from = p.now
		}
		from = from.UTC().Truncate(time.Microsecond) // as Postgres keeps it
		put := step{sql: sqlPutAdapter, args: []any{w.ID, name, a.Account, from, a.Paused, canonical(a.Settings)}}
		if !ok {
			p.change(w.ID, "adapter", name, "add", "effects from "+from.Format(time.RFC3339))
			p.steps = append(p.steps, put)
			p.wake(verdict.TenantScope(w.ID))
			continue
		}
		what := differ("account", old.Account, a.Account,
			"effects_from", old.EffectsFrom.Format(time.RFC3339Nano), from.Format(time.RFC3339Nano),
			"paused", strconv.FormatBool(old.Paused), strconv.FormatBool(a.Paused))
		what = append(what, differJSON("settings", old.Settings, a.Settings)...)
		if len(what) == 0 {
			continue
		}
		p.change(w.ID, "adapter", name, "change", what...)
		p.steps = append(p.steps, put)
		if !a.Paused && (old.Paused || old.Account != a.Account) {
			p.wake(verdict.TenantScope(w.ID))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Adapters)) {
		if _, ok := w.Adapters[name]; !ok {
			p.change(w.ID, "adapter", name, "remove")
			p.steps = append(p.steps, step{sql: sqlDropAdapter, args: []any{w.ID, name}})
		}
	}
}

// externalIDs holds every account against all others, also those of tenants that are not applied.
func (p *planner) externalIDs(wanted []Wanted) {
	type at struct{ vendor, id string }
	owner := map[at]string{}
	applied := map[string]bool{}
	for _, w := range wanted {
		applied[w.ID] = true
	}
	for _, id := range p.known.order {
		if !applied[id] {
			for _, a := range p.known.tenants[id].Accounts {
				owner[at{a.Vendor, a.ExternalID}] = a.Key()
			}
		}
	}
	for _, w := range wanted {
		for _, a := range w.Accounts {
			k := at{a.Vendor, a.ExternalID}
			if other, taken := owner[k]; taken {
				p.problems = append(p.problems, Problem{
					Place:  a.At,
					What:   fmt.Sprintf("external_id %q at %s is also that of account %s", a.ExternalID, a.Vendor, other),
					Remedy: "an account belongs to one tenant: correct one of the two",
				})
				continue
			}
			owner[k] = w.ID + "/" + a.Key()
		}
	}
}

func (p *planner) change(tenant, kind, name, action string, what ...string) {
	p.result.Changes = append(p.result.Changes, Change{Tenant: tenant, Kind: kind, Name: name, Action: action, What: what})
}

func (p *planner) wake(scopes ...verdict.Scope) {
	for _, s := range scopes {
		if !slices.Contains(p.result.Wake, s) {
			p.result.Wake = append(p.result.Wake, s)
		}
	}
}

// differ compares triples of name, before, after.
func differ(triples ...string) (what []string) {
	for i := 0; i+2 < len(triples); i += 3 {
		if before, after := triples[i+1], triples[i+2]; before != after {
			what = append(what, fmt.Sprintf("%s: %q → %q", triples[i], before, after))
		}
	}
	return what
}

// differJSON names the members of two objects that differ.
func differJSON(name string, before, after json.RawMessage) []string {
	var a, b map[string]json.RawMessage
	_ = json.Unmarshal(canonical(before), &a) // canonical is an object
	_ = json.Unmarshal(canonical(after), &b)
	keys := map[string]bool{}
	for _, m := range []map[string]json.RawMessage{a, b} {
		for k := range m {
			keys[k] = string(a[k]) != string(b[k])
		}
	}
	var what []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if keys[k] {
			what = append(what, name+"."+k)
		}
	}
	return what
}
