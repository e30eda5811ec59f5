package tenant

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/verdict"
)

// vendor is a checker that answers by account.
type vendor map[string]struct {
	findings []Finding
	err      error
}

func (v vendor) Check(_ context.Context, _ Tenant, a Account) ([]Finding, error) {
	if a.Paused {
		return nil, errors.New("a paused account is asked as if it were not")
	}
	return slices.Clone(v[a.Tenant].findings), v[a.Tenant].err
}

func TestCheckAsksEachAccountAndASilentVendorIsAFinding(t *testing.T) {
	t.Parallel()
	account := func(id string) Tenant {
		return Tenant{ID: id, Accounts: []Account{
			{Tenant: id, Vendor: "followupboss", Name: "main", Paused: true}, {Tenant: id, Vendor: "unchecked", Name: "main"},
		}}
	}
	v := vendor{
		"a": {findings: []Finding{{Account: "a/followupboss/main", What: `stage "Under Contract" does not exist`, Remedy: "create it"}}},
		"b": {err: verdict.Held(verdict.ScopeKey, time.Time{}, "account refused", nil)},
		"c": {err: errors.New("calling GET /stages: timeout")},
	}
	got := Check(t.Context(), []Tenant{account("c"), account("d"), account("b"), account("a")}, map[string][]Checker{"followupboss": {v}})
	require.Equal(t, []Finding{
		{"a", "followupboss/main", `stage "Under Contract" does not exist`, "create it"},
		{"b", "followupboss/main", "account refused", "mend the credential and apply it"},
		{"c", "followupboss/main", "the vendor gives no answer: calling GET /stages: timeout", "try again"},
	}, got)
}
