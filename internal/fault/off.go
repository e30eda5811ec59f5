//go:build !faults

package fault

// Compiled tells whether this build can be made to fail.
const Compiled = false

// Broken tells whether the named mistake is made. It is not.
func Broken(string) bool { return false }
