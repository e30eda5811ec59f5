package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/postgres"
)

const (
	// RenewTimeout is how long a vendor's account server may take for new tokens. The row of the
	// credential is locked for as long, so it is short; real ones answer in a second.
	RenewTimeout = 4 * time.Second
	// renewLock is how long another process waits for that: the call and the write behind it.
	renewLock = RenewTimeout + time.Second
	// renewIdle ends the transaction of a process that froze in its call. It stays below the 10 s
	// after which a group takes its members for dead, as every transaction here does.
	renewIdle = renewLock + time.Second
)

// renewTimeouts replace the engine's within one transaction.
var renewTimeouts = fmt.Sprintf(
	"SELECT set_config('lock_timeout','%d',true), set_config('statement_timeout','%d',true), "+
		"set_config('idle_in_transaction_session_timeout','%d',true)",
	renewLock.Milliseconds(), renewIdle.Milliseconds(), renewIdle.Milliseconds())

// Refusal is what a renewal ends in where the vendor refuses the credential itself: nothing but a
// person, or another credential, helps. Cause holds no secret.
type Refusal struct{ Cause string }

func (r *Refusal) Error() string { return r.Cause }

// sealed is a credential as Postgres keeps it: what a later write compares.
type sealed struct{ fields, access, refresh []byte }

// Renew gives renew the tokens of an account as Postgres holds them now, under the lock of the
// credential's row, and stores what it returns, sealed, before the lock is given up: of all processes
// one renews, and the others find its tokens. renew has RenewTimeout, and returns what it got where
// that is still good. A *Refusal is noted on the account, unless another credential has come since.
//
// This is the one place where a call is made inside a transaction. A vendor that rotates refresh
// tokens takes the second use of one for theft and revokes them all, so that no two processes may ever
// use the same one, and the rotated one must be stored before anybody else looks. A process that dies
// between the vendor's answer and the commit loses the rotated token: the next renewal is refused, and
// the account waits for a person to connect it again. A commit that fails while the process lives is
// written once more.
//
// ctx should outlive who asked: an answer that nobody waits for must be stored all the same.
func (s *Store) Renew(
	ctx context.Context, a Account, renew func(context.Context, Credential) (Credential, error),
) (Credential, error) {
	if s.sealer == nil {
		return Credential{}, errors.New("renewing tokens: the sealing key is needed")
	}
	var (
		before        sealed
		held, renewed Credential
		write         []any // the new tokens, once there are any
	)
	err := postgres.Tx(ctx, s.pool, func(tx pgx.Tx) (err error) {
		if _, err = tx.Exec(ctx, renewTimeouts); err != nil {
			return err
		}
		if before, held, err = s.lock(ctx, tx, a); err != nil {
			return err
		}
		call, cancel := context.WithTimeout(ctx, RenewTimeout)
		defer cancel()
		if renewed, err = renew(call, held); err != nil || sameTokens(renewed, held) {
			return err
		}
		if write, err = s.sealTokens(a, renewed, before); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, postgres.In(s.schema, sqlPutTokens), write...)
		return err
	})
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		s.refuse(ctx, a, before, refusal.Cause)
		return Credential{}, err
	}
	if err != nil && write != nil {
		err = s.writeAgain(ctx, write)
	}
	if err != nil {
		return Credential{}, fmt.Errorf("renewing tokens of %s: %w", a.Key(), postgres.Classify(err))
	}
	if write != nil {
		s.tell(ctx)
	}
	return renewed, nil
}

func (s *Store) lock(ctx context.Context, tx pgx.Tx, a Account) (at sealed, held Credential, err error) {
	var expires *time.Time
	err = tx.QueryRow(ctx, postgres.In(s.schema, sqlLockCredential), a.Tenant, a.Vendor, a.Name).
		Scan(&at.fields, &at.access, &at.refresh, &expires)
	if errors.Is(err, pgx.ErrNoRows) {
		return at, held, ErrUnknownAccount
	}
	if err != nil {
		return at, held, err
	}
	of := credentialOf(a.Key())
	fields, err := s.sealer.Decrypt(at.fields, of)
	if err != nil || json.Unmarshal(fields, &held.Fields) != nil {
		return at, held, ErrSealed
	}
	k := &known{}
	held.AccessToken, held.RefreshToken = string(s.open(k, at.access, of)), string(s.open(k, at.refresh, of))
	if expires != nil {
		held.ExpiresAt = *expires
	}
	return at, held, nil
}

// sealTokens makes the arguments of sqlPutTokens.
func (s *Store) sealTokens(a Account, c Credential, before sealed) ([]any, error) {
	args := []any{a.Tenant, a.Vendor, a.Name}
	for _, token := range []string{c.AccessToken, c.RefreshToken} {
		var out []byte
		if token != "" {
			var err error
			if out, err = s.sealer.Encrypt([]byte(token), credentialOf(a.Key())); err != nil {
				return nil, fmt.Errorf("sealing tokens of %s: %w", a.Key(), err)
			}
		}
		args = append(args, out)
	}
	return append(args, orNull(c.ExpiresAt), before.fields, before.refresh), nil
}

// errOvertaken is a retry: who asks again finds the tokens that are stored.
var errOvertaken = errors.New("other tokens were stored meanwhile")

// writeAgain stores tokens whose commit failed, for example since Postgres restarted. It changes
// nothing where they are there already, or where others have come.
func (s *Store) writeAgain(ctx context.Context, write []any) error {
	return postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, postgres.In(s.schema, sqlPutTokens), write...)
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, postgres.In(s.schema, sqlHasTokens), write[:4]...).Scan(&there); err != nil || there {
			return err
		}
		return errOvertaken
	})
}

// refuse notes a refusal, unless the credential has changed since it was used.
func (s *Store) refuse(ctx context.Context, a Account, before sealed, cause string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	err := postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		// The account's lock first, as an apply takes them, and the credential read behind it: another
		// credential is seen here, or clears the refusal after us.
		if _, err := tx.Exec(ctx, postgres.In(s.schema, sqlLockAccount), a.Tenant, a.Vendor, a.Name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, postgres.In(s.schema, sqlRefuse), a.Tenant, a.Vendor, a.Name, cause, before.fields, before.refresh)
		return err
	})
	if err != nil {
		s.failedNotes.Inc()
	}
	s.tell(ctx)
}

// tell lets all processes look. It is no part of the transaction that stores tokens: nothing that
// can wait may stand between a vendor's answer and its commit. Where it fails, others find the tokens
// when theirs are refused or too old.
func (s *Store) tell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if _, err := s.pool.Exec(ctx, postgres.In(s.schema, sqlChanged)); err != nil {
		s.failedNotes.Inc()
	}
	s.see(ctx)
}

func sameTokens(a, b Credential) bool {
	return a.AccessToken == b.AccessToken && a.RefreshToken == b.RefreshToken && a.ExpiresAt.Equal(b.ExpiresAt)
}

// Account returns one account from memory, or ErrUnknownAccount.
func (s *Store) Account(tenant, vendor, name string) (Account, error) {
	if t, ok := s.current().tenants[tenant]; ok {
		if a, ok := t.clone().Account(vendor, name); ok {
			return a, nil
		}
	}
	return Account{}, fmt.Errorf("account %s/%s/%s: %w", tenant, vendor, name, ErrUnknownAccount)
}

// Fresh is Account as Postgres says it after the call began. Calls at the same time share a look.
func (s *Store) Fresh(ctx context.Context, tenant, vendor, name string) (Account, error) {
	if err := s.refreshSince(ctx, time.Now()); err != nil {
		return Account{}, err
	}
	return s.Account(tenant, vendor, name)
}
