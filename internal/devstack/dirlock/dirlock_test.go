package dirlock_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/devstack/dirlock"
)

const envHold = "CONVEYANCE_TEST_HOLD"

// TestMain lets the test binary stand in for another process that holds a lock.
func TestMain(m *testing.M) {
	if path := os.Getenv(envHold); path != "" {
		if _, err := dirlock.Take(path); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("held\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test, too
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestSecondHolderIsToldWhoHoldsAndAKillFrees(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), envHold+"="+path)
	_, err := other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)

	_, err = dirlock.Take(path)
	inUse, ok := errors.AsType[*dirlock.InUseError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, filepath.Dir(path), inUse.Dir)
	require.Equal(t, strconv.Itoa(other.Process.Pid), inUse.PID)
	require.ErrorContains(t, err, "stop it or use --dir")

	require.NoError(t, other.Process.Kill())
	_ = other.Wait()
	lock, err := dirlock.Take(path)
	require.NoError(t, err)
	require.NoError(t, lock.Release())
}

func TestOneProcessHoldsALockOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, err := dirlock.Take(path)
	require.NoError(t, err)
	_, err = dirlock.Take(path)
	require.ErrorContains(t, err, "pid "+strconv.Itoa(os.Getpid()))
	require.NoError(t, first.Release())
	again, err := dirlock.Take(path)
	require.NoError(t, err)
	require.NoError(t, again.Release())
}

func TestFolderThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	_, err := dirlock.Take(filepath.Join(t.TempDir(), "none", "lock"))
	require.ErrorContains(t, err, "none/lock")
}
