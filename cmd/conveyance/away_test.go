package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/testkit"
)

func TestUpSaysWhichServerOfOnesOwnIsAwayAndStartsNothing(t *testing.T) {
	t.Parallel()
	at, url := nowhere(t), testkit.Database(t)
	for line, want := range map[string]string{
		"--kafka " + at + " --postgres " + url:           "Kafka does not answer: start it, or correct --kafka: dial tcp " + at,
		"--registry http://" + at + " --postgres " + url: "the registry does not answer: start it, or correct --registry: dial tcp " + at,
		"--postgres postgres://u:planted@" + at + "/d":   "Postgres does not answer: start it, or correct --postgres: dial tcp " + at,
	} {
		dir := t.TempDir()
		said := refused(t, append(strings.Fields(line), "up", "--ports", "auto", "--dir", dir)...)
		require.Contains(t, said, want)
		require.NotContains(t, said, "\n")
		for _, stage := range []string{"fetch", "translate", "adapter*"} {
			logs, err := filepath.Glob(filepath.Join(dir, "log", stage+".log"))
			require.NoError(t, err)
			require.Empty(t, logs)
		}
	}
}
