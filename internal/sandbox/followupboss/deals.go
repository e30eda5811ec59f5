package followupboss

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// dealFields are what a deal may be sent with.
func dealFields() map[string]bool {
	return set("name", "stageId", "pipelineId", "price", "projectedCloseDate", "mutualAcceptanceDate", "earnestMoneyDueDate",
		"dueDiligenceDate", "finalWalkThroughDate", "possessionDate", "description", "orderWeight", "peopleIds", "userIds",
		"commissionValue", "agentCommission", "teamCommission")
}

func (f *api) listDeals(w http.ResponseWriter, r *http.Request, a world.Account) {
	q := r.URL.Query()
	f.page(w, r, a, Deals, "deals", func(d map[string]any) bool {
		for _, name := range []string{"pipelineId", "stageId", "name"} {
			if want := q.Get(name); want != "" && fmt.Sprint(d[name]) != want {
				return false
			}
		}
		return holdsID(d["people"], q.Get("personId")) && holdsID(d["users"], q.Get("userId"))
	})
}

// holdsID says whether a list of people or users holds an id; an empty id is in every list.
func holdsID(list any, id string) bool {
	items, _ := list.([]any)
	return id == "" || slices.ContainsFunc(items, func(item any) bool {
		m, _ := item.(map[string]any)
		return fmt.Sprint(m["id"]) == id
	})
}

func (f *api) createDeal(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := f.deal(r, a)
	if err == nil && (body["name"] == nil || body["stageId"] == nil) {
		err = errors.New("name and stageId are required")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	rec, err := f.create(a, Deals, func(at time.Time) map[string]any {
		return records.Merge(map[string]any{
			"status": "Active", "createdAt": at.UTC().Format(stampLayout), "price": nil, "projectedCloseDate": nil, "description": "",
			"people": []any{}, "users": []any{}, "orderWeight": 1000, "commissionValue": nil, "agentCommission": nil, "teamCommission": nil,
		}, body)
	})
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply.JSON(w, http.StatusCreated, fields(rec.Body, ""))
}

func (f *api) updateDeal(w http.ResponseWriter, r *http.Request, a world.Account) {
	body, err := f.deal(r, a)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	f.answerChanged(w, a, Deals, r.PathValue("id"), func(old map[string]any, _ time.Time) map[string]any {
		return records.Merge(old, body)
	})
}

// deal reads a deal from a request: known fields only, stage, people and users looked up.
func (f *api) deal(r *http.Request, a world.Account) (map[string]any, error) {
	body, err := reply.Object(r)
	if err != nil {
		return nil, err
	}
	if k := f.unknown(a, body, dealFields(), DealCustomFields); k != "" {
		return nil, fmt.Errorf("invalid fields in the request body: %s", k)
	}
	now := f.base.Records.Now()
	if id := body["stageId"]; id != nil {
		p, s := f.dealStage(now, a, id)
		if s == nil {
			return nil, fmt.Errorf("deal stage %v does not exist", id)
		}
		body["stageName"], body["pipelineId"], body["pipelineName"] = s["name"], p["id"], p["name"]
	}
	for field, kind := range map[string]string{"peopleIds": People, "userIds": Users} {
		if given, ok := body[field]; ok {
			list, err := f.refs(now, a, kind, given)
			if err != nil {
				return nil, err
			}
			delete(body, field)
			body[kind] = list
		}
	}
	return body, dealValues(body)
}

// refs are the records of ids, in short.
func (f *api) refs(v records.View, a world.Account, kind string, given any) ([]any, error) {
	ids, ok := given.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: a list of ids is wanted", kind)
	}
	out := make([]any, 0, len(ids))
	for _, id := range ids {
		rec := v.Get(key(a, kind, fmt.Sprint(id)))
		if !rec.Exists() {
			return nil, fmt.Errorf("%s: %v does not exist", kind, id)
		}
		ref := map[string]any{"id": rec.Body["id"], "name": rec.Body["name"]}
		if !holdsID(out, fmt.Sprint(id)) {
			out = append(out, ref)
		}
	}
	return out, nil
}

// dealValues checks the types of what a deal is sent with.
func dealValues(body map[string]any) error {
	for k, v := range body {
		switch {
		case v == nil:
		case strings.HasSuffix(k, "Date"):
			text, _ := v.(string)
			if _, err := time.Parse(time.DateOnly, text[:min(len(text), len(time.DateOnly))]); err != nil {
				return fmt.Errorf("%s is not a date", k)
			}
		case slices.Contains([]string{"price", "commissionValue", "agentCommission", "teamCommission", "orderWeight"}, k):
			if _, ok := v.(json.Number); !ok {
				return fmt.Errorf("%s is not a number", k)
			}
		case k == "name" || k == "description":
			if _, ok := v.(string); !ok {
				return fmt.Errorf("%s is not text", k)
			}
		}
	}
	return nil
}
