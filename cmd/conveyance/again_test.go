package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/testkit"
)

// processesOf are the command lines of the processes that work in a folder.
func processesOf(t *testing.T, dir string) (all []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range files {
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "environ"))
		line, _ := os.ReadFile(file) // a process may end meanwhile
		if strings.Contains(string(line), dir) || strings.Contains(string(environ), "CONVEYANCE_DIR="+dir) {
			all = append(all, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return all
}

func TestUpGoesOnAfterKill9AndLeavesNoProcessBehind(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	dir := filepath.Join(t.TempDir(), "c")
	url := testkit.Database(t)
	b, err := startUp(dir, "--postgres", url, "--deals", "2", "--per-second", "20")
	require.NoError(t, err)
	deal := b.deal(t)
	require.NoError(t, b.cmd.Process.Signal(syscall.SIGKILL))
	require.Error(t, <-b.ended)
	await(t, "the end of its processes", func() bool { return len(processesOf(t, dir)) == 0 })

	again, err := startUp(dir, "--postgres", url, "--no-story")
	require.NoError(t, err)
	require.Equal(t, b.Kafka, again.Kafka)
	require.Contains(t, must(t, "trace", deal, "--dir", dir), "effect")
	old := again.Processes["translate"]
	require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
	await(t, "another process, in up.json too", func() bool {
		up, err := readUp(dir)
		return err == nil && up.Processes["translate"] != old
	})
	require.NoError(t, again.stop())
	require.Empty(t, processesOf(t, dir))
	require.NoFileExists(t, filepath.Join(dir, "up.json"))
}
