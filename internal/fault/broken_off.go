//go:build !faults

package fault

// Compiled tells whether this build can be made to fail.
const Compiled = false

// Broken tells whether the named mistake is made. It is not, and nothing of it is left in the binary.
func Broken(string) bool { return false }

// Seen tells whether a name was seen before. It remembers none.
func Seen(string) bool { return false }

// Hash is a number for what v says. It is 0.
func Hash(any) int64 { return 0 }
