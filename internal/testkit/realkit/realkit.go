// Package realkit gives tests a real Kafka and a real registry of their own. Such tests need mvn, a Java and
// some seconds, so they run where CONVEYANCE_REAL is set: task real, and .ci/run.
package realkit

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/realparts/kafka"
	"conveyance/internal/realparts/registry"
)

// Wanted skips a test where real parts are not asked for.
func Wanted(t testing.TB) {
	t.Helper()
	if os.Getenv("CONVEYANCE_REAL") == "" {
		t.Skip("CONVEYANCE_REAL=1 tries this on the real parts (task real)")
	}
}

// Kafka starts a cluster that ends with the test. Where the test fails, the nodes' last words are shown.
func Kafka(t testing.TB, o kafka.Options) *kafka.Cluster {
	t.Helper()
	Wanted(t)
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "kafka")
	}
	c, err := kafka.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, id := range c.Nodes() {
				t.Logf("node %d: %s", id, c.Said(id))
			}
		}
		_ = c.Drop()
	})
	return c
}

// Registry starts a registry that ends with the test.
func Registry(t testing.TB) *registry.Registry {
	t.Helper()
	Wanted(t)
	r, err := registry.Start(t.Context(), filepath.Join(t.TempDir(), "registry"))
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("registry: %s", r.Said())
		}
		_ = r.Kill()
	})
	return r
}
