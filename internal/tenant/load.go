package tenant

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/postgres"
)

// known is everything that Postgres holds of all tenants, as of one look.
type known struct {
	change  int64
	tenants map[string]*stored
	order   []string // ids
	sealed  int      // secrets that the key did not open
	opened  int

	hashes map[string][sha256.Size]byte // of endpoints' tokens, by account key
	keys   map[keyring][]WebhookKey     // by id
	doors  map[door]Endpoint
}

// stored is a tenant with what only an apply needs.
type stored struct {
	Tenant
	removed map[string]Adapter // adapters that the tenant no longer wants
}

// causeSealed marks an account whose credential another key sealed.
const causeSealed = "credential does not open with this sealing key: apply the tenant anew"

// batcher is a pool or a transaction.
type batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// load reads all tenants in one round trip. The number of the change is read first, so that a change
// in between is seen again by the next look.
func (s *Store) load(ctx context.Context, db batcher, b *pgx.Batch) (*known, error) {
	k := &known{
		tenants: map[string]*stored{}, hashes: map[string][sha256.Size]byte{},
		keys: map[keyring][]WebhookKey{}, doors: map[door]Endpoint{},
	}
	b.Queue(postgres.In(s.schema, sqlChange)).QueryRow(func(r pgx.Row) error { return r.Scan(&k.change) })
	b.Queue(postgres.In(s.schema, sqlTenants)).Query(func(rows pgx.Rows) error { return each(rows, s.tenantRow(k)) })
	b.Queue(postgres.In(s.schema, sqlAccounts)).Query(func(rows pgx.Rows) error { return each(rows, s.accountRow(k)) })
	b.Queue(postgres.In(s.schema, sqlAdapters)).Query(func(rows pgx.Rows) error { return each(rows, adapterRow(k)) })
	b.Queue(postgres.In(s.schema, sqlEndpoints)).Query(func(rows pgx.Rows) error { return each(rows, s.endpointRow(k)) })
	b.Queue(postgres.In(s.schema, sqlWebhookKeys)).Query(func(rows pgx.Rows) error { return each(rows, s.webhookKeyRow(k)) })
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("reading tenants: %w", postgres.Classify(err))
	}
	k.build()
	return k, nil
}

func each(rows pgx.Rows, row func(pgx.Rows) error) error {
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *Store) tenantRow(k *known) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		t := &stored{Tenant: Tenant{Adapters: map[string]Adapter{}}, removed: map[string]Adapter{}}
		var key []byte
		var paused *time.Time
		if err := rows.Scan(&t.ID, &t.Name, &t.TimeZone, &paused, &key, &t.Version); err != nil {
			return err
		}
		t.Paused, t.PausedAt = pause(paused)
		t.PseudonymKey = s.open(k, key, pseudonymOf(t.ID))
		k.tenants[t.ID] = t
		k.order = append(k.order, t.ID)
		return nil
	}
}

func (s *Store) accountRow(k *known) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var (
			a                       Account
			sealed, access, refresh []byte
			expires, paused         *time.Time
		)
		err := rows.Scan(&a.Tenant, &a.Vendor, &a.Name, &a.ExternalID, &a.BaseURL, &a.Settings, &paused, &a.CreatedAt,
			&a.Health.Refused, &a.Health.Cause, &a.Health.Since, &a.Health.CheckedAt,
			&sealed, &access, &refresh, &expires)
		if err != nil {
			return err
		}
		a.Paused, a.PausedAt = pause(paused)
		a.Settings = canonical(a.Settings)
		of := credentialOf(a.Key())
		fields := s.open(k, sealed, of)
		if sealed != nil && s.sealer != nil && json.Unmarshal(fields, &a.Credential.Fields) != nil {
			a.Health.Refused, a.Health.Cause = true, causeSealed
		}
		a.Credential.AccessToken = string(s.open(k, access, of))
		a.Credential.RefreshToken = string(s.open(k, refresh, of))
		if expires != nil {
			a.Credential.ExpiresAt = *expires
		}
		if t := k.tenants[a.Tenant]; t != nil { // else it is newer than the tenants that were read
			t.Accounts = append(t.Accounts, a)
		}
		return nil
	}
}

// pause is whether somebody paused something, and when.
func pause(at *time.Time) (bool, time.Time) {
	if at == nil {
		return false, time.Time{}
	}
	return true, at.UTC()
}

func adapterRow(k *known) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var (
			id, destination string
			a               Adapter
			removed         bool
		)
		if err := rows.Scan(&id, &destination, &a.Account, &a.EffectsFrom, &a.Paused, &a.Settings, &removed); err != nil {
			return err
		}
		a.Settings = canonical(a.Settings)
		a.EffectsFrom = a.EffectsFrom.UTC()
		switch t := k.tenants[id]; {
		case t == nil:
		case removed:
			t.removed[destination] = a
		default:
			t.Adapters[destination] = a
		}
		return nil
	}
}

// open returns a secret in clear; nil where there is none, no key, or another key. A process without
// a key sees no secrets, and one secret that does not open is no trouble of the other accounts.
func (s *Store) open(k *known, sealed, of []byte) []byte {
	if sealed == nil || s.sealer == nil {
		return nil
	}
	clear, err := s.sealer.Decrypt(sealed, of)
	if err != nil {
		k.sealed++
		return nil
	}
	k.opened++
	return clear
}

// canonical is a JSON value with sorted keys and no spaces, as Marshal writes it; nil is {}.
func canonical(raw json.RawMessage) json.RawMessage {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil || v == nil {
		return json.RawMessage("{}")
	}
	out, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return out
}
