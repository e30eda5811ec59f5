package ledger

import (
	"crypto/sha256"
	"encoding/binary"

	"conveyance/internal/verdict"
)

// Class says how an effect is kept from happening twice when its outcome is unknown (protocol.md 8).
type Class byte

const (
	// ClassA is a row of our own Postgres: written in the transaction that moves the offset.
	ClassA Class = 'A'
	// ClassB is an API that remembers an idempotency key: sent again with the same key.
	ClassB Class = 'B'
	// ClassC is an API that can be read back: waits, then Confirm decides.
	ClassC Class = 'C'
	// ClassD is neither: an unknown outcome waits for a person, and is never sent again blind.
	ClassD Class = 'D'
)

// Facet is the finest thing of a resource that an effect sets, for the revision guard
// (protocol.md 14): an effect is planned only where Revision is above the stored one. A zero Facet
// is a fact that has no newer state, guarded by the ledger alone.
type Facet struct {
	Resource string // event.Resource.Key
	Name     string // event type and subject
	Revision int64
}

// Effect is one call to a destination. The same event plans the same effects, in the same order,
// whoever plans it and when.
type Effect struct {
	Verb   string // what is done, for example person.stage; stable, a metric label
	Target string // to what, by our key (deal key, contact key), never by personal data
	Class  Class
	Facet  Facet
	// Line says in a few words what people would notice, for plans, traces and the story. No
	// personal data.
	Line string
	// Body is what Apply needs beyond the event; the engine does not look at it.
	Body any
}

// Step tells the effects of one event apart in the ledger: 64 bits of SHA-256 over verb and target.
func (e Effect) Step() int64 {
	sum := sha256.Sum256([]byte(e.Verb + "\x00" + e.Target))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // G115: a bit pattern, not a quantity
}

// Receipt is a destination's answer to an effect that is in place.
type Receipt struct {
	Ref  string // the destination's id of what was made or changed
	NoOp bool   // the destination was already so, and no call was made
	// Wake names a scope that this effect heals: the engine releases what waits for it, in the
	// transaction that records the effect. Empty for none.
	Wake verdict.Scope
}

// Outcome is what reading back says of an effect in doubt.
type Outcome int

const (
	// CannotTell is neither seen nor surely absent; the effect stays in doubt.
	CannotTell Outcome = iota
	// InPlace says that the effect, or a newer state that contains it, is there.
	InPlace
	// NotInPlace is surely absent: it may be sent.
	NotInPlace
	// Doubled is there more than once. It ends as in place, and is flagged for a person.
	Doubled
)
