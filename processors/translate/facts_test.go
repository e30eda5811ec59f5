package translate

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

// strict is a mapper that relies on one field.
type strict struct{}

func (strict) Map(s event.VendorSnapshot) (producers.Facts, error) {
	var sale struct {
		Status *string `json:"status"`
	}
	if err := json.Unmarshal(s.Parts[0].Body, &sale); err != nil || sale.Status == nil {
		return producers.Facts{}, &producers.ContractError{Path: "/status", Why: "is missing"}
	}
	return producers.Facts{Deal: &event.Deal{VendorStatus: *sale.Status}}, nil
}

func TestARenamedFieldIsMendedByTheAccountsSettings(t *testing.T) {
	t.Parallel()
	renamed := *raw(1, 1, `{"transaction_status":"Pending"}`)
	who := tenant.Tenant{ID: "lakeshore", Accounts: []tenant.Account{{Tenant: "lakeshore", Vendor: "plain", Name: "main"}}}

	_, err := facts(strict{}, renamed, who, nil)
	require.ErrorContains(t, err, "contract broken: /status")

	who.Accounts[0].Settings = json.RawMessage(`{"renamed":{"transaction_status":"status"}}`)
	f, err := facts(strict{}, renamed, who, nil)
	require.NoError(t, err)
	require.Equal(t, "Pending", f.Deal.VendorStatus)

	f, err = facts(strict{}, *raw(2, 2, `{"status":"Closed"}`), who, nil)
	require.NoError(t, err, "records of before the rename are still read")
	require.Equal(t, "Closed", f.Deal.VendorStatus)
}

// TestKeysThatAreTakenOverAreThoseThatWouldBeMade stamps deals with and without the deal before.
func TestKeysThatAreTakenOverAreThoseThatWouldBeMade(t *testing.T) {
	t.Parallel()
	key := []byte("key")
	people := func(t *rapid.T, label string) producers.Facts {
		d := &event.Deal{}
		for range rapid.IntRange(0, 4).Draw(t, label) {
			var c event.Contact
			if rapid.Bool().Draw(t, "mail") {
				c.Emails = []string{rapid.SampledFrom([]string{"a@example.com", "b@example.com"}).Draw(t, "email"), "z@example.com"}
			}
			if rapid.Bool().Draw(t, "phone") {
				c.Phones = []string{rapid.SampledFrom([]string{"+13125550190", "+13125550191"}).Draw(t, "number")}
			}
			c.SourceKey = rapid.SampledFrom([]string{"", "x"}).Draw(t, "id")
			role := rapid.SampledFrom([]event.ParticipantRole{event.ParticipantRoleBuyer, event.ParticipantRoleSeller}).Draw(t, "role")
			d.Participants = append(d.Participants, event.Participant{Role: role, Contact: c})
		}
		return producers.Facts{Deal: d}
	}
	rapid.Check(t, func(t *rapid.T) {
		before, after := people(t, "before"), people(t, "after")
		stamp(&before, "resource", key, nil)
		afresh := producers.Facts{Deal: &event.Deal{Participants: slices.Clone(after.Deal.Participants)}}
		stamp(&afresh, "resource", key, nil)
		stamp(&after, "resource", key, before.Deal)
		require.Equal(t, afresh.Deal.Participants, after.Deal.Participants)
	})
}
