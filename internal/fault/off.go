//go:build !faults

package fault

// Compiled tells whether this build can be made to fail.
const Compiled = false

// At is a crash point. It returns nil.
func At(string) error { return nil }

// Broken tells whether the named mistake is made. It is not.
func Broken(string) bool { return false }
