package tenant

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

// SetHealth notes what a vendor's answer said of an account. It fits vendorhttp.Config.Health: it
// waits for Postgres for writeTimeout at most, outlives the caller's context, and where it cannot
// write it counts; the account's next answer says it again.
func (s *Store) SetHealth(ctx context.Context, a Account, refused bool, cause string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	err := postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, postgres.In(s.schema, sqlHealth), a.Tenant, a.Vendor, a.Name, refused, cause)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, postgres.In(s.schema, sqlChanged))
		return err
	})
	if err != nil {
		s.failedNotes.Inc()
		return
	}
	s.see(ctx)
}

// Pause stops all effects and fetches of a tenant, or the calls of tenant/vendor/account, until
// Resume. Every process sees it within RefreshAfter. Twice is once.
func (s *Store) Pause(ctx context.Context, target, by string) error {
	_, err := s.pause(ctx, target, by, true)
	return err
}

// Resume ends a pause and returns the scope whose held records should be tried now.
func (s *Store) Resume(ctx context.Context, target, by string) (verdict.Scope, error) {
	return s.pause(ctx, target, by, false)
}

func (s *Store) pause(ctx context.Context, target, by string, paused bool) (verdict.Scope, error) {
	var (
		sql     = sqlPauseTenant
		args    = []any{target, paused, by}
		scope   = verdict.TenantScope(target)
		unknown = ErrUnknown
	)
	if parts := strings.Split(target, "/"); len(parts) > 1 {
		if len(parts) != 3 {
			return "", fmt.Errorf("reading %q: write a tenant, or tenant/vendor/account", target)
		}
		sql, unknown = sqlPauseAccount, ErrUnknownAccount
		args = []any{parts[0], parts[1], parts[2], paused, by}
		scope = verdict.AccountScope(parts[0], parts[1], parts[2])
	}
	err := postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, postgres.In(s.schema, sql), args...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return unknown
		}
		_, err = tx.Exec(ctx, postgres.In(s.schema, sqlChanged))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("pausing or resuming %s: %w", target, postgres.Classify(err))
	}
	s.see(ctx)
	return scope, nil
}
