package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/realparts/kafka"
	"conveyance/internal/realparts/registry"
)

// realParts puts a real Kafka and a real registry in the place of up's own where CONVEYANCE_E2E_PARTS=real
// asks for them; they end after the bus. Whoever is killed is started again, as up does with its own.
func realParts(t testing.TB, cfg *chaos.Config) {
	t.Helper()
	if os.Getenv("CONVEYANCE_E2E_PARTS") != "real" {
		return
	}
	dir := t.TempDir()
	k, err := kafka.Start(t.Context(), kafka.Options{Dir: filepath.Join(dir, "kafka"), Set: kafka.FastFailover()})
	require.NoError(t, err)
	r, err := registry.Start(t.Context(), filepath.Join(dir, "registry"))
	require.NoError(t, err)
	again := make(chan func() error, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for start := range again {
			if err := start(); err != nil && t.Context().Err() == nil {
				t.Errorf("starting a real part again: %v", err)
			}
		}
	}()
	t.Cleanup(func() {
		close(again)
		<-done
		if t.Failed() {
			t.Logf("kafka: %s\nregistry: %s", k.Said(1), r.Said())
		}
		_ = r.Kill()
		_ = k.Drop()
	})
	cfg.Kafka, cfg.Registry = k.Bootstrap(), r.URL
	cfg.Parts = map[string]func(syscall.Signal) bool{
		"broker": func(sig syscall.Signal) bool {
			switch sig {
			case syscall.SIGKILL:
				if k.Kill(1) != nil {
					return false
				}
				again <- func() error { return k.StartNode(t.Context(), 1) }
				return true
			case syscall.SIGSTOP:
				return k.Pause(1) == nil
			default:
				return k.Resume(1) == nil
			}
		},
		"registry": func(sig syscall.Signal) bool {
			if sig == syscall.SIGKILL {
				_ = r.Kill()
				again <- func() error { return r.Start(t.Context()) }
				return true
			}
			r.Signal(sig)
			return true
		},
	}
}

// build builds the binary.
func build(t testing.TB) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "conveyance")
	out, err := exec.Command("go", "build", "-o", exe, "conveyance/cmd/conveyance").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return exe
}

// ending is a bus that ends with the test, and shows its logs where the test fails.
func ending(t testing.TB, lab *chaos.Bus) *bus {
	t.Helper()
	b := &bus{lab, t, new(string)}
	t.Cleanup(func() {
		b.Stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s\n%s", b.Logs(), *b.last)
		}
	})
	return b
}

// number is a size that CONVEYANCE_E2E_<name> gives.
func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv("CONVEYANCE_E2E_" + name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}
