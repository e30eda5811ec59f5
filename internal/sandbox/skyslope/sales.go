package skyslope

import (
	"errors"
	"fmt"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

const (
	// stampNoZone is how instants are written: UTC, milliseconds, no zone.
	stampNoZone = "2006-01-02T15:04:05.000"
	// NoDate is how "no date" is written where it is not null.
	NoDate = "0001-01-01T00:00:00"
)

// emptySale is what a file holds before anybody writes into it: every key that the vendor sends.
func emptySale(guid string, at time.Time) map[string]any {
	return map[string]any{
		"saleGuid": guid, "listingGuid": nil, "agentGuid": nil, "createdByGuid": nil,
		"mlsNumber": "", "escrowNumber": "", "statusId": 59, "status": "Incomplete", "officeGuid": nil, "checklistType": "Other",
		"escrowClosingDate": nil, "actualClosingDate": nil, "contractAcceptanceDate": NoDate,
		"dealType": "Purchase", "listingPrice": 0, "salePrice": nil, "property": map[string]any{},
		"commission": nil, "commissionBreakdowns": []any{}, "commissionSplits": []any{},
		"sellers": []any{}, "buyers": []any{}, "titleContact": nil, "escrowContact": nil, "lenderContact": nil,
		"otherSideAgentContact": nil, "stage": map[string]any{"id": 1, "name": "Open"}, "coAgentGuids": nil,
		"earnestMoneyDeposit": nil, "customFields": []any{}, "createdOn": at.UTC().Format(stampNoZone),
	}
}

// put merges a patch into a record. Of a sale the modified time moves, and its state is its status.
func (s *api) put(a world.Account, kind, id string, patch map[string]any) (records.Record, error) {
	if id == "" {
		return records.Record{}, errors.New("the guid is empty")
	}
	key := records.Key{Account: a.Key(), Kind: kind, ID: id}
	return s.base.Records.Put(key, func(old records.Record, at time.Time) (records.Change, error) {
		body := old.Body
		switch kind {
		case Sales:
			if !old.Exists() {
				body = emptySale(id, at)
			}
			body = records.Merge(body, patch)
			body["saleGuid"], body["modifiedOn"] = id, at.UTC().Format(stampNoZone)
			state, _ := body["status"].(string)
			return records.Change{Body: body, State: state}, nil
		case Users:
			body = records.Merge(body, patch)
			body["userGuid"] = id
		case Offices:
			body = records.Merge(body, patch)
			body["officeGuid"] = id
		default:
			return records.Change{}, fmt.Errorf("there are no records of kind %q", kind)
		}
		return records.Change{Body: body}, nil
	})
}

// people makes the account's users and offices where they are not there yet.
func (s *api) people(a world.Account) error {
	made := map[records.Key]map[string]any{}
	for _, g := range world.Agents(a.Tenant) {
		made[records.Key{Account: a.Key(), Kind: Users, ID: g.GUID}] = map[string]any{
			"userGuid": g.GUID, "firstName": g.First, "lastName": g.Last, "email": g.Email, "phone": g.Phone, "userType": "Agent",
		}
	}
	for _, o := range world.Offices(a.Tenant) {
		made[records.Key{Account: a.Key(), Kind: Offices, ID: o.GUID}] = map[string]any{"officeGuid": o.GUID, "officeName": o.Name}
	}
	for key, body := range made {
		if s.base.Records.Now().Get(key).Body != nil {
			continue
		}
		_, err := s.base.Records.Put(key, func(records.Record, time.Time) (records.Change, error) {
			return records.Change{Body: body}, nil
		})
		if err != nil {
			return fmt.Errorf("opening account %s: %w", a.Key(), err)
		}
	}
	return nil
}
