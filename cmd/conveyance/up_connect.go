package main

import (
	"context"
	"io"
	"maps"
	"slices"
)

// connect makes the vendors send the brokerages' webhooks to this up. A vendor that cannot be asked
// costs its webhooks, not the start.
func (s *stack) connect(ctx context.Context) error {
	g := *s.g
	g.PostgresURL, g.PublicURL, g.out = s.up.Postgres, s.up.HTTP, io.Discard
	of := &tenantCmd{SealingKey: s.sealingKeyFile(), allowed: allowed{AllowLoopback: true}}
	for _, id := range slices.Sorted(maps.Keys(s.up.Tenants)) {
		err := (&tenantConnectCmd{Tenant: id}).Run(ctx, &g, of)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.note("webhooks of %s do not come: %v; conveyance tenant connect %s tries again", id, err, id)
		}
	}
	return nil
}
