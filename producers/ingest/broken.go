package ingest

import (
	"context"
	"strings"

	"conveyance/internal/tenant"
)

// named is the account that a body says it is of: what a door must not ask. Only a mutant does.
func (w *watch) named(ctx context.Context, externalID string) tenant.Account {
	all, err := w.tenants.Tenants(ctx)
	if err != nil {
		return tenant.Account{}
	}
	for _, t := range all {
		for _, a := range t.Accounts {
			if strings.EqualFold(a.ExternalID, externalID) {
				return a
			}
		}
	}
	return tenant.Account{}
}
