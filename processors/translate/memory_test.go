package translate

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// It runs alone: the collector is the process's.
func TestCollectorIsLeftAloneWhereSomebodySetIt(t *testing.T) {
	before := debug.SetGCPercent(collectDefault)
	defer debug.SetGCPercent(before)
	restore := CollectRarely()
	require.Equal(t, collectPercent, debug.SetGCPercent(collectPercent))
	restore()
	require.Equal(t, collectDefault, debug.SetGCPercent(50))
	CollectRarely()()
	require.Equal(t, 50, debug.SetGCPercent(collectDefault))
}
