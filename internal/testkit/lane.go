package testkit

import (
	"os"
	"testing"
)

// Lane skips a test that strikes a whole bus for minutes, unless CONVEYANCE_LANES is set: go test ./...
// takes minutes on two cores, and .ci/run and the tasks set it for the lanes that they run.
func Lane(t testing.TB) {
	t.Helper()
	if os.Getenv("CONVEYANCE_LANES") == "" {
		t.Skip("a lane of its own: set CONVEYANCE_LANES=1")
	}
}
