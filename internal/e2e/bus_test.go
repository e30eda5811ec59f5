package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/chaos"
	"conveyance/internal/judge"
	"conveyance/internal/testkit"
)

// bus is the fault lab's bus in the hands of a test, which ends where a call does not work.
type bus struct {
	*chaos.Bus
	t    testing.TB
	last *string // what is told last of a test that failed, below the logs: a log that is cut shows it
}

// on is the same bus in the hands of a subtest.
func (b *bus) on(t testing.TB) *bus { return &bus{b.Bus, t, b.last} }

// start builds the binary, starts up on the test's own Postgres and waits until it is ready.
func start(t testing.TB) *bus {
	t.Helper()
	return startOn(t, filepath.Join(t.TempDir(), "bus"), testkit.Database(t))
}

// startOn starts up in a folder, on a Postgres; empty = up's own.
func startOn(t testing.TB, dir, postgres string) *bus {
	t.Helper()
	cfg := chaos.Config{Exe: filepath.Join(t.TempDir(), "conveyance"), Dir: dir, Postgres: postgres}
	realParts(t, &cfg)
	out, err := exec.Command("go", "build", "-o", cfg.Exe, "conveyance/cmd/conveyance").CombinedOutput()
	require.NoError(t, err, "%s", out)
	lab, err := chaos.Start(t.Context(), cfg)
	require.NoError(t, err)
	b := &bus{lab, t, new(string)}
	t.Cleanup(func() {
		b.Stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s\n%s", b.Logs(), *b.last)
		}
	})
	return b
}

func (b *bus) control(ctx context.Context, method, path, body string, into any) {
	b.t.Helper()
	require.NoError(b.t, b.Control(ctx, method, path, body, into))
}

func (b *bus) command(ctx context.Context, args ...string) string {
	b.t.Helper()
	out, err := b.Command(ctx, args...)
	require.NoError(b.t, err)
	return out
}

func (b *bus) read(ctx context.Context, topics ...string) []*kgo.Record {
	b.t.Helper()
	all, err := b.Read(ctx, topics...)
	require.NoError(b.t, err)
	return all
}

// settled waits until the bus is at rest, and requires that the judge finds nothing; more are findings
// of the test's own, asked for at the end.
func (b *bus) settled(ctx context.Context, more ...func() []string) judge.Verdict {
	b.t.Helper()
	v, err := b.Settle(ctx, patience)
	for _, find := range more {
		v.Misordered = append(v.Misordered, find()...)
	}
	if err != nil || !v.Clean() {
		*b.last = fmt.Sprintf("%s%v (%v)", chaos.Findings(v), v, err)
	}
	b.t.Log(v)
	require.NoError(b.t, err)
	require.True(b.t, v.Clean(), v)
	return v
}

// patience is how long the bus may show no progress before it is judged as it is.
const patience = 60 * time.Second
