package tenant

import "context"

// Directory is how processes look tenants up. Both calls answer from memory that is at most
// RefreshAfter old and block only for the first read. They are safe for concurrent use.
type Directory interface {
	// Tenant returns ErrUnknown where there is no such tenant.
	Tenant(ctx context.Context, id string) (Tenant, error)
	// Tenants returns all, by id.
	Tenants(ctx context.Context) ([]Tenant, error)
}
