package translate

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

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

	_, err := facts(strict{}, renamed, who)
	require.ErrorContains(t, err, "contract broken: /status")

	who.Accounts[0].Settings = json.RawMessage(`{"renamed":{"transaction_status":"status"}}`)
	f, err := facts(strict{}, renamed, who)
	require.NoError(t, err)
	require.Equal(t, "Pending", f.Deal.VendorStatus)

	f, err = facts(strict{}, *raw(2, 2, `{"status":"Closed"}`), who)
	require.NoError(t, err, "records of before the rename are still read")
	require.Equal(t, "Closed", f.Deal.VendorStatus)
}
