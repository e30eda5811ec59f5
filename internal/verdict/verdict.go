// Package verdict is the vocabulary in which a failure says what it means for the record in hand.
// A verdict is given only at the edge that knows (the vendor's HTTP client, Postgres, the codec),
// passes through every wrap in between, and is obeyed by the engine alone. Done is a nil error.
package verdict

import (
	"errors"
	"fmt"
	"time"
)

// Kind is what the engine does with a record.
type Kind int

const (
	// Done means that the effect is in place. Ledger row, offset.
	Done Kind = iota
	// Skip means that there is nothing to do, for a stated reason. Counted by reason, offset.
	Skip
	// Retry means surely not done, and the record is fine. The key waits; longer than HoldAfter
	// it becomes a hold. Also every unmarked error before anything was sent.
	Retry
	// Doubt means sent, outcome unknown. The key waits until it is settled by class; never
	// skipped, never sent again blind.
	Doubt
	// Hold means that it cannot be now (account refused, budget spent, tenant paused, no deal yet).
	// Queued in the transaction that moves the offset; others go on; ends when the scope heals or
	// the time comes.
	Hold
	// Park means that it can never work by itself. The same queue, waiting for a person.
	Park
	// Stall means that the world is wrong for all (destination down, registry away, migration
	// missing). The partition pauses, no attempt is spent, and it resumes by itself.
	Stall
)

var names = [...]string{"done", "skip", "retry", "doubt", "hold", "park", "stall"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return names[k]
}

// HoldAfter is the longest that a retry may keep its key waiting in memory.
const HoldAfter = 10 * time.Second

// Scope names what must heal before a held record goes on. It is also what a wake addresses.
type Scope string

// ScopeAdapter is the whole destination.
const ScopeAdapter Scope = "adapter"

// ScopeKey is the record's own key and nothing else.
const ScopeKey Scope = "key"

// TenantScope is one tenant at this adapter.
func TenantScope(tenant string) Scope { return Scope("tenant:" + tenant) }

// AccountScope is one account of a tenant at a vendor.
func AccountScope(tenant, vendor, account string) Scope {
	return Scope("account:" + tenant + "/" + vendor + "/" + account)
}

// PersonScope is a person whom a deal's event needs and contacts.v1 has not made yet.
func PersonScope(tenant, contactKey string) Scope {
	return Scope("person:" + tenant + "/" + contactKey)
}

// LinkScope is the deal to which a record, named by its key, will be tied.
func LinkScope(resource string) Scope { return Scope("link:" + resource) }

// Error is a verdict other than done. Cause is a short stable text without personal data: it is a
// metric label, a column and the first thing a night operator reads. Err is the detail.
type Error struct {
	Kind  Kind
	Cause string
	Scope Scope         // Hold: what must heal
	Until time.Time     // Hold: when to try by itself; zero = only when the scope is woken or a person says so
	After time.Duration // Retry: how long the key waits; 0 = the engine's own backoff
	Err   error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Kind.String() + ": " + e.Cause
	}
	return fmt.Sprintf("%s: %s: %v", e.Kind, e.Cause, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Skipped marks a record as needing nothing; reason is counted.
func Skipped(reason string) error { return &Error{Kind: Skip, Cause: reason} }

// RetryAfter marks a failure that surely did nothing.
func RetryAfter(after time.Duration, cause string, err error) error {
	return &Error{Kind: Retry, Cause: cause, After: after, Err: err}
}

// Doubtful marks a call that may have been carried out.
func Doubtful(cause string, err error) error { return &Error{Kind: Doubt, Cause: cause, Err: err} }

// Held marks a record that cannot go on now.
func Held(scope Scope, until time.Time, cause string, err error) error {
	return &Error{Kind: Hold, Cause: cause, Scope: scope, Until: until, Err: err}
}

// Parked marks a record that can never go on by itself.
func Parked(cause string, err error) error { return &Error{Kind: Park, Cause: cause, Err: err} }

// Stalled marks a failure that is not the record's.
func Stalled(cause string, err error) error { return &Error{Kind: Stall, Cause: cause, Err: err} }

// Of returns the verdict in err's chain, nil for a nil err. An unmarked error is a retry: the safe
// answer where nothing was sent. The engine, not this package, turns an unmarked error after a
// send into a doubt (protocol.md 30), and knows cancellation from failure.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	if v, ok := errors.AsType[*Error](err); ok {
		return v
	}
	return &Error{Kind: Retry, Cause: "unmarked", Err: err}
}
