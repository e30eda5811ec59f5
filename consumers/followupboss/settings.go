package followupboss

import (
	"encoding/json"
	"fmt"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// noTime is a hold that only a wake ends.
var noTime time.Time

// settings are what a tenant wants, as schema/settings.json describes them.
type settings struct {
	Stages        map[event.TransactionStatus]string `json:"stages"`
	DealStages    map[event.TransactionStatus]string `json:"deal_stages"`
	Pipeline      string                             `json:"pipeline"`
	ForwardOnly   bool                               `json:"forward_only"`
	CreateMissing bool                               `json:"create_missing"`
	AssignAgents  bool                               `json:"assign_agents"`
	LeadEvents    bool                               `json:"lead_events"`
	Notes         bool                               `json:"notes"`
	Source        string                             `json:"source"`
}

func settingsOf(t tenant.Tenant) (settings, error) {
	s := settings{CreateMissing: true, AssignAgents: true, Notes: true, Source: "Conveyance"}
	raw := t.Adapters[Name].Settings
	if len(raw) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		err = fmt.Errorf("reading the settings of tenant %s: %w", t.ID, err)
		return s, verdict.Held(verdict.TenantScope(t.ID), noTime, "settings unreadable", err)
	}
	return s, nil
}

// rank orders people's stages for forward_only: the way of a deal that succeeds. The stages of
// other statuses, and those that the settings do not name, come before all.
func (s settings) rank(stage string) int {
	way := []event.TransactionStatus{
		event.TransactionStatusPreContract, event.TransactionStatusUnderContract, event.TransactionStatusClosed,
	}
	rank := 0
	for i, status := range way {
		if named, ok := s.Stages[status]; ok && same(named, stage) {
			rank = i + 1
		}
	}
	return rank
}
