package chaos_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/testkit"
)

// A sample of what conveyance chaos does at length, with every sort of fault but a killed postmaster,
// which a Postgres of its own needs.
func TestSmallRunFindsNothingAndCountsWhatItDid(t *testing.T) {
	testkit.Lane(t)
	exe := filepath.Join(t.TempDir(), "conveyance")
	out, err := exec.Command("go", "build", "-o", exe, "conveyance/cmd/conveyance").CombinedOutput()
	require.NoError(t, err, "%s", out)
	told := 0
	r, err := chaos.Run(t.Context(), chaos.Config{Exe: exe, Dir: filepath.Join(t.TempDir(), "bus"), Postgres: testkit.Database(t)},
		chaos.Plan{Seed: 7, Events: 300, Kills: 6, Zombies: 1, Progress: func(chaos.Report) { told++ }})
	require.NoError(t, err)
	require.True(t, r.Clean(), "%s%s", chaos.Findings(r.Verdict), r)
	require.Equal(t, chaos.Struck{Kills: 6, Zombies: 1}, r.Struck)
	require.GreaterOrEqual(t, r.Events, int64(300))
	require.NotZero(t, r.Verdict.Applied, "the history was judged, too")
	require.NotEmpty(t, r.Spreads())
	require.NotZero(t, told)
}
