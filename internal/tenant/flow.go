package tenant

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/postgres"
)

// FlowTime is how long a person has for a consent.
const FlowTime = 15 * time.Minute

// ErrNoFlow means that no consent with this state is under way: it is unknown, too old, or was used.
var ErrNoFlow = errors.New("no consent is under way with this state")

// Flow is a consent under way.
type Flow struct {
	Account  Account // Tenant, Vendor and Name only
	Verifier string  // PKCE
	Redirect string  // where the vendor sends the person back to
}

// String keeps the verifier out of logs and errors.
func (f Flow) String() string { return "consent for " + f.Account.Key() }

// GoString keeps it out of %#v.
func (f Flow) GoString() string { return f.String() }

// State is what stands for a consent's state at rest. It is looked up by, so that time says nothing
// of how much of a state was right.
type State [sha256.Size]byte

// StateOf is the state's hash.
func StateOf(state string) State { return sha256.Sum256([]byte(state)) }

// BeginFlow notes that a consent was asked for; it ends by itself after FlowTime. Flows of the
// account that ended yesterday are forgotten.
func (s *Store) BeginFlow(ctx context.Context, state State, f Flow) error {
	if s.sealer == nil {
		return errors.New("beginning a consent: the sealing key is needed")
	}
	verifier, err := s.sealer.Encrypt([]byte(f.Verifier), verifierOf(f.Account.Key()))
	if err != nil {
		return fmt.Errorf("sealing a consent's verifier: %w", err)
	}
	_, err = s.pool.Exec(ctx, postgres.In(s.schema, sqlBeginFlow), state[:],
		f.Account.Tenant, f.Account.Vendor, f.Account.Name, verifier, f.Redirect, FlowTime.Seconds())
	if err != nil {
		return fmt.Errorf("beginning a consent for %s: %w", f.Account.Key(), postgres.Classify(err))
	}
	return nil
}

// TakeFlow returns the flow of a state, once: who comes second, or too late, gets ErrNoFlow.
func (s *Store) TakeFlow(ctx context.Context, vendor string, state State) (Flow, error) {
	if s.sealer == nil {
		return Flow{}, errors.New("taking a consent up: the sealing key is needed")
	}
	f := Flow{Account: Account{Vendor: vendor}}
	var verifier []byte
	err := s.pool.QueryRow(ctx, postgres.In(s.schema, sqlTakeFlow), state[:], vendor).
		Scan(&f.Account.Tenant, &f.Account.Name, &verifier, &f.Redirect)
	if errors.Is(err, pgx.ErrNoRows) {
		return Flow{}, ErrNoFlow
	}
	if err != nil {
		return Flow{}, fmt.Errorf("taking a consent up: %w", postgres.Classify(err))
	}
	clear, err := s.sealer.Decrypt(verifier, verifierOf(f.Account.Key()))
	if err != nil {
		return Flow{}, ErrSealed
	}
	f.Verifier = string(clear)
	return f, nil
}

// EndFlow notes what came of a consent, for who waits for it: a sentence without secrets, empty where
// the account is connected.
func (s *Store) EndFlow(ctx context.Context, state State, outcome string) error {
	if _, err := s.pool.Exec(ctx, postgres.In(s.schema, sqlEndFlow), state[:], outcome); err != nil {
		return fmt.Errorf("ending a consent: %w", postgres.Classify(err))
	}
	return nil
}

// FlowEnded says whether a consent has ended, and how. One that nobody gave in time is ErrNoFlow.
func (s *Store) FlowEnded(ctx context.Context, state State) (ended bool, outcome string, err error) {
	err = s.pool.QueryRow(ctx, postgres.In(s.schema, sqlFlow), state[:]).Scan(&ended, &outcome)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, "", ErrNoFlow
	}
	if err != nil {
		return false, "", fmt.Errorf("looking for a consent: %w", postgres.Classify(err))
	}
	return ended, outcome, nil
}
