package truth

import (
	"slices"

	"conveyance/internal/sandbox/records"
)

// rank orders statuses for tenants whose people only go forward.
func rank(status string) int {
	switch status {
	case "PRE_CONTRACT":
		return 1
	case "UNDER_CONTRACT":
		return 2
	case "CLOSED":
		return 3
	default:
		return 0
	}
}

// people says who is in the CRM. Only deals with effects count.
func (j *judge) people(sales []sale) {
	deals, surely := map[string][]sale{}, map[string]bool{}
	for _, s := range sales {
		has, perhaps := j.effect(s)
		if !has {
			continue
		}
		for _, key := range s.clients {
			deals[key] = append(deals[key], s)
			surely[key] = surely[key] || !perhaps
		}
	}
	for key, of := range deals {
		p := Person{Count: j.count(key), Optional: !surely[key], Stages: j.stages(of)}
		if j.cfg.AssignAgents {
			for _, s := range of {
				if s.agent != "" {
					p.Assigned = append(p.Assigned, s.agent)
				}
			}
			slices.Sort(p.Assigned)
			p.Assigned = slices.Compact(p.Assigned)
		}
		if j.cfg.Notes {
			p.Notes = new(int)
		}
		j.out.People[key] = p
	}
}

// count is how many records of a person the CRM must hold.
func (j *judge) count(key string) int {
	if j.cfg.CreateMissing || slices.Contains(j.entered, key) {
		return 1
	}
	return 0
}

// entered are the keys of the people who came into the CRM otherwise than by its API.
func entered(people []records.Record) []string {
	var keys []string
	for _, rec := range people {
		if !rec.Exists() || rec.Body["createdVia"] == "API" {
			continue
		}
		for _, e := range contacts(rec.Body["emails"]) {
			keys = append(keys, personKey(map[string]any{"email": e["value"]}))
		}
		for _, p := range contacts(rec.Body["phones"]) {
			keys = append(keys, personKey(map[string]any{"phoneNumber": p["value"]}))
		}
	}
	return keys
}

// stages are what a person's stage may be: that of any of their deals' statuses now; for deals whose
// status has none, those of statuses they passed through; and where no deal's has one, the stage at
// creation. Where people only go forward, nothing below the highest of the statuses now.
func (j *judge) stages(of []sale) []string {
	var allowed []string
	highest, decided := 0, false
	for _, s := range of {
		if j.cfg.Stages[s.status] != "" {
			highest, decided = max(highest, rank(s.status)), true
		}
	}
	for _, s := range of {
		statuses := s.passed
		if j.cfg.Stages[s.status] != "" && !j.cfg.ForwardOnly {
			statuses = []string{s.status}
		}
		for _, status := range statuses {
			if stage := j.cfg.Stages[status]; stage != "" && (!j.cfg.ForwardOnly || rank(status) >= highest) {
				allowed = append(allowed, stage)
			}
		}
	}
	if !decided {
		allowed = append(allowed, stageAtCreation)
	}
	slices.Sort(allowed)
	return slices.Compact(allowed)
}

// unique drops what comes again, keeping the last of each.
func unique(list []string) []string {
	var out []string
	for i, x := range list {
		if !slices.Contains(list[i+1:], x) {
			out = append(out, x)
		}
	}
	return out
}
