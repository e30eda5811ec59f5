package child_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/devstack/child"
	"conveyance/internal/testkit"
)

const envParent = "CONVEYANCE_TEST_PARENT_LOG"

// TestMain lets the test binary stand in for a parent that starts a child and is killed.
func TestMain(m *testing.M) {
	if log := os.Getenv(envParent); log != "" {
		p, err := child.Start(child.Spec{Path: "/bin/sleep", Args: []string{"300"}, Log: log, Death: syscall.SIGKILL})
		if err != nil {
			panic(err)
		}
		if err := os.WriteFile(log+".pid", []byte(strconv.Itoa(p.PID)), 0o600); err != nil {
			panic(err)
		}
		select {}
	}
	os.Exit(m.Run())
}

func TestChildDiesWithItsKilledParent(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), envParent+"="+log)
	require.NoError(t, parent.Start())
	var pid int
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(log + ".pid")
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil && pid > 0
	}, testkit.Patience, testkit.Look)
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	require.Eventually(t, func() bool { return gone(pid) }, testkit.Patience, testkit.Look)
}

// gone counts a process that nobody has reaped yet as ended.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	t.Parallel()
	p, err := child.Start(child.Spec{Path: "/bin/sh", Args: []string{"-c", "trap '' TERM; echo up; while :; do sleep 1; done"}, Log: filepath.Join(t.TempDir(), "log"), Death: syscall.SIGKILL})
	require.NoError(t, err)
	require.NoError(t, p.Err())
	require.ErrorContains(t, p.Stop(syscall.SIGWINCH, 100*time.Millisecond), "was killed")
	<-p.Done()
	require.Error(t, p.Err())
}

func TestChildIsHeardOnItsOwnDescriptorBesideItsLog(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 2)
	log := filepath.Join(t.TempDir(), "log")
	p, err := child.Start(child.Spec{
		Path: "/bin/sh", Args: []string{"-c", "echo for the log; echo the disk is full >&" + strconv.Itoa(child.SayFD)},
		Log: log, Say: func(line string) { heard <- line },
	})
	require.NoError(t, err)
	<-p.Done()
	require.Equal(t, "the disk is full", <-heard)
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "for the log\n", string(text))
}
