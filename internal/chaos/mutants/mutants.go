// Package mutants shows that the judge sees: twenty mistakes, each made on purpose in a build with
// -tags faults (fault.Broken names the places), are played in a scene in which each matters, and must
// be found; the unbroken build must be found clean in the same scenes. Its tests are the command.
package mutants

// Mutant is a mistake, and what must be found of it.
type Mutant struct {
	Name  string // as fault.Broken has it
	Scene string // in which it matters
	Sort  string // of the finding by which it is known
	Says  string // which a finding of that sort contains
}

// What is found once and for all.
const (
	inLog      = "answered with 2xx, and is not in the log"
	couldTake  = "though the bus could take it"
	fell       = "an offset fell"
	before     = "effect before its predecessor"
	leftBehind = "record left in the queue"
)

// All are the mutants of the test plan, in its order.
func All() []Mutant {
	return []Mutant{
		{"ack before produce", "the door is killed", "lost", inLog},
		{"r.Context() into Produce", "a sender leaves", "lost", couldTake},
		{"commit before effect", "translate is killed", "lost", ""},
		{"no ledger PK", "records come twice", "duplicated", "notes of signatures"},
		{"no offset CAS", "translate wakes", "misordered", fell},
		{"epoch not checked before the call", "an adapter wakes", "duplicated", "notes of signatures"},
		{"SELECT-then-INSERT", "records come twice", "duplicated", "timeline tells event"},
		{"dedupe cache at ingest", "the door is full", "lost", inLog},
		{"LWW by local clock", "old snapshots come late", "misordered", "differs"},
		{"retry topic without key lock", "an account is refused", "misordered", before},
		{"unlock before drain", "an account is refused", "lost", leftBehind},
		{"ledger TTL 1 s", "records come twice", "duplicated", "notes of signatures"},
		{"replay bypassing ledger", "the past comes back", "duplicated", "notes of signatures"},
		{"EOF swallowed", "a record is cut off", "duplicated", "notes of signatures"},
		{"404 to DLQ", "a record is deleted", "unexplained", "not found"},
		{"unknown schema to DLQ", "a schema comes late", "unexplained", "unknown schema"},
		{"offset reset to latest", "a destination is forgotten", "lost", "warehouse has no deal"},
		{"body hash as eid", "a price comes back", "misordered", "differs"},
		{"per-process rate limiter", "three processes call", "overrun", "for its quota"},
		{"tenant from body", "a stranger's body is signed", "crossed", "is in the log as redrock"},
	}
}
