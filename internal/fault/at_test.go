//go:build faults

package fault

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func armedWith(t *testing.T, dir, self, plan string) *arms {
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plan"), []byte(plan), 0o600))
	return &arms{dir: dir, self: self, passed: map[string]int{}, left: map[string]int{}}
}

func strikes(a *arms, point string, passages int) (at []int) {
	for n := range passages {
		if _, ok := a.due(point); ok {
			at = append(at, n+1)
		}
	}
	return at
}

func TestRunStrikesTheNamedPassageOfItsProcessOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const plan = "r1 adapter-warehouse decode kill 3 4\nnot a line\n"
	require.Empty(t, strikes(armedWith(t, dir, "adapter-timeline", plan), "decode", 9))
	a := armedWith(t, dir, self([]string{"adapter", "warehouse", "--listen", ":0"}), plan)
	require.Empty(t, strikes(a, "start", 9))
	require.NoFileExists(t, filepath.Join(dir, "r1.reached"))
	require.Equal(t, []int{3}, strikes(a, "decode", 9))
	require.FileExists(t, filepath.Join(dir, "r1.reached"))
	again := armedWith(t, dir, "adapter-warehouse", plan) // its next life, or its stand-in
	require.Empty(t, strikes(again, "decode", 9))
}

func TestErrorsFollowEachOtherAsOftenAsTheRunSays(t *testing.T) {
	t.Parallel()
	a := armedWith(t, t.TempDir(), "fetch", "r1 fetch poll.after error 2 3\n")
	require.Equal(t, []int{2, 3, 4}, strikes(a, "poll.after", 9))
}

func TestPlanMayChangeWhileAProcessRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := armedWith(t, dir, "fetch", "")
	require.Empty(t, strikes(a, "poll.after", 3))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plan"), []byte("r2 fetch poll.after error 1 1\n"), 0o600))
	require.Equal(t, []int{1}, strikes(a, "poll.after", 3))
}

func TestProcessWithoutAPlanPasses(t *testing.T) {
	t.Parallel()
	for _, point := range Points() {
		require.NoError(t, At(point))
	}
}
