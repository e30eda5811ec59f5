package followupboss

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
)

// Check asks the vendor whether the key works and opens the account that is meant, whether every
// stage that the tenant's settings name exists, and whether deals have our custom field. It changes
// nothing.
func (a *Adapter) Check(ctx context.Context, t tenant.Tenant, acc tenant.Account) ([]tenant.Finding, error) {
	var out []tenant.Finding
	find := func(what, remedy string) {
		out = append(out, tenant.Finding{Tenant: t.ID, Account: acc.Key(), What: what, Remedy: remedy})
	}
	r, err := a.crm.http.Do(ctx, acc, vendorhttp.Request{
		Method: http.MethodGet, Path: "/v1/identity", Header: header(acc),
		Answers: []int{http.StatusUnauthorized, http.StatusForbidden},
	})
	if err != nil {
		return nil, fmt.Errorf("asking Follow Up Boss who we are: %w", err)
	}
	if r.Status != http.StatusOK {
		find("the API key is refused", "make a key in Follow Up Boss under Admin, API, and apply the tenant with it")
		return out, nil
	}
	var who struct{ Account struct{ ID json.Number } }
	err = json.Unmarshal(r.Body, &who)
	if opens := who.Account.ID.String(); err == nil && opens != "" && opens != acc.ExternalID {
		find("the API key opens account "+opens+", not "+acc.ExternalID,
			"correct external_id, or make a key in the account that is meant")
		return out, nil
	}
	if _, ok := t.Adapters[Name]; !ok {
		return out, nil
	}
	s, err := settingsOf(t)
	if err != nil {
		return nil, err
	}
	for _, status := range inOrder(s.Stages) {
		name := s.Stages[status]
		if _, ok, err := a.personStage(ctx, acc, name); err != nil {
			return nil, err
		} else if !ok {
			find(fmt.Sprintf("stage %q does not exist", name),
				"make it in Follow Up Boss under Admin, Stages, or name another in stages."+string(status))
		}
	}
	for _, status := range inOrder(s.DealStages) {
		name := s.DealStages[status]
		if _, ok, err := a.dealStage(ctx, acc, s.Pipeline, name); err != nil {
			return nil, err
		} else if !ok {
			find(fmt.Sprintf("deal stage %q does not exist", name),
				"make it in Follow Up Boss in a pipeline, or name another in deal_stages."+string(status))
		}
	}
	if len(s.DealStages) == 0 {
		return out, nil
	}
	planted := false
	err = pages(ctx, a.crm, acc, "/v1/dealCustomFields", "dealcustomfields", nil, func(f stage) bool {
		planted = f.Name == fieldKey
		return planted
	})
	if err != nil {
		return nil, err
	}
	if !planted {
		find("deals have no custom field "+fieldKey, "make a deal custom field of type text with the label Conveyance Key")
	}
	return out, nil
}

func inOrder(names map[event.TransactionStatus]string) []event.TransactionStatus {
	return slices.Sorted(maps.Keys(names))
}
