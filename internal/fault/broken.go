//go:build faults

package fault

import (
	"encoding/json"
	"hash/fnv"
	"os"
	"sync"
)

// Compiled tells whether this build can be made to fail.
const Compiled = true

// Broken tells whether the named mistake is made: the one that CONVEYANCE_BROKEN names.
func Broken(name string) bool { return os.Getenv("CONVEYANCE_BROKEN") == name }

// Seen tells whether a name was seen before: the memory of a mutant that remembers.
func Seen(name string) bool {
	_, before := seen.LoadOrStore(name, true)
	return before
}

var seen sync.Map

// Hash is a number for what v says: what a mutant takes for an id.
func Hash(v any) int64 {
	h := fnv.New64a()
	_ = json.NewEncoder(h).Encode(v)
	return int64(h.Sum64())
}
