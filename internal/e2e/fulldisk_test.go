package e2e

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// All that up brings lies on the disk that is full, Postgres and its log with it: it ends, does not start
// again, and goes on by itself once there is room.
func TestFullDiskUnderPostgresTooLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=320m"); err != nil {
		t.Skipf("NOT TRIED: a full disk needs a small one, and mounting it needs root: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	// Postgres's account must be able to enter, or its files would lie elsewhere.
	for _, dir := range []string{filepath.Dir(disk), disk} {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	require.NoError(t, os.Mkdir(filepath.Join(disk, "bus"), 0o755))
	b := startOn(t, filepath.Join(disk, "bus"), "")
	ctx := t.Context()
	s := b.sale(ctx, "lakeshore", 1)
	b.await("the deal in the CRM", func() bool { return b.known(ctx, s) })
	// A vendor that is slow to answer: the change is there, and is read when the disk is full.
	require.True(t, b.Signal("fetch", syscall.SIGSTOP))
	b.put(ctx, s, `{"status":"Pending","comments":"`+strings.Repeat("x", 64<<10)+`"}`)
	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	_, err = io.Copy(f, io.LimitReader(zeros{}, 1<<30))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	for range 8 { // as much as a busy hour writes: Postgres finds no room for its next log file
		if _, err = b.Pool.Exec(ctx, "SELECT pg_logical_emit_message(true, 'e2e', repeat('x', 8 << 20))"); err != nil {
			break
		}
	}
	require.Error(t, err)
	require.True(t, b.Signal("fetch", syscall.SIGCONT))
	b.await("the sentence", func() bool {
		_, why, _ := strings.Cut(b.Said(), "Postgres does not start, and is tried again: ")
		return strings.Contains(why, "the disk of "+filepath.Join(b.Dir, "postgres")+" is full: free some space")
	})
	require.NoError(t, os.Remove(filler))
	b.await("the deal's stage", func() bool { return b.stage(ctx, s) == "Under Contract" })
	b.settled(ctx)
}
