package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/testkit"
)

// TestMain lets the test binary be the program, so that up finds itself and its stages in it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		main()
		return
	}
	code := m.Run()
	stopShared()
	os.Exit(code)
}

// call runs a command in this process.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// must is call of a command that works, and returns what it says.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := call(t, args...)
	require.Zero(t, code, "%v: %s%s", args, out, errs)
	return out
}

// lines are the JSON objects that a command printed.
func lines(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var one map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &one), line)
		all = append(all, one)
	}
	return all
}

// bus is a running up.
type bus struct {
	upFile
	dir   string
	cmd   *exec.Cmd
	said  *lockedBuffer // all of its stdout and stderr
	ended chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startUp starts up as a process and reads its ready line.
func startUp(dir string, args ...string) (*bus, error) {
	b := &bus{dir: dir, said: &lockedBuffer{}, ended: make(chan error, 1)}
	b.cmd = exec.Command(os.Args[0], append([]string{
		"up", "--dir", dir, "--ports", "auto", "--json", "--poll-every", "300ms", "--time-scale", "10",
	}, args...)...)
	b.cmd.Stderr = b.said
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	r := bufio.NewReader(stdout)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("up said: %s", b.said), b.cmd.Wait())
	}
	_, _ = b.said.Write(line)
	go func() {
		_, _ = io.Copy(b.said, r)
		b.ended <- b.cmd.Wait()
	}()
	return b, json.Unmarshal(line, &b.upFile)
}

// stop is Ctrl-C.
func (b *bus) stop() error {
	_ = b.cmd.Process.Signal(syscall.SIGINT)
	return <-b.ended
}

// control makes one call to the simulated vendors' control.
func (b *bus) control(t *testing.T, method, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.Sandbox+"/_control"+path, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Less(t, resp.StatusCode, 300, "%s", text)
}

// await waits until something has happened at other processes.
func await(t *testing.T, what string, happened func() bool) {
	t.Helper()
	require.Eventually(t, happened, testkit.Patience, testkit.Look, what)
}

var shared struct {
	once sync.Once
	bus  *bus
	root string
	err  error
}

// running is the package's own up, with a few deals in it. Tests share it: each works on deals, and
// holds, of its own.
func running(t *testing.T) *bus {
	t.Helper()
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	url := testkit.PostgresURL(t)
	shared.once.Do(func() {
		//nolint:usetesting // the package's tests share it, and it outlives the first of them
		if shared.root, shared.err = os.MkdirTemp("", "conveyance-up"); shared.err != nil {
			return
		}
		shared.bus, shared.err = startUp(filepath.Join(shared.root, "c"),
			"--postgres", url, "--deals", "6", "--per-second", "20")
	})
	require.NoError(t, shared.err)
	return shared.bus
}

func stopShared() {
	if shared.bus != nil {
		if err := shared.bus.stop(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "stopping up:", err)
		}
	}
	_ = os.RemoveAll(shared.root)
}
