//go:build faults

package fault

import "os"

// Compiled tells whether this build can be made to fail.
const Compiled = true

// Broken tells whether the named mistake is made: the one that CONVEYANCE_BROKEN names.
func Broken(name string) bool { return os.Getenv("CONVEYANCE_BROKEN") == name }
