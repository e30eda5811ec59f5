package broker_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"conveyance/internal/devstack/broker"
)

const (
	envDir  = "CONVEYANCE_TEST_BROKER_DIR"
	envPort = "CONVEYANCE_TEST_BROKER_PORT"
	envSync = "CONVEYANCE_TEST_BROKER_SYNC"
)

// TestMain lets the test binary stand in for an up that serves a broker until it is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		port, err := strconv.Atoi(os.Getenv(envPort))
		if err != nil {
			panic(err)
		}
		opts := broker.Options{Dir: dir, Port: port, SyncWrites: os.Getenv(envSync) != "", Log: zap.NewNop()}
		if _, err := broker.Start(context.Background(), opts); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("up\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test, too
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// up starts the stand-in and returns once it serves.
func up(t *testing.T, dir string, port int, sync string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envDir+"="+dir, envPort+"="+strconv.Itoa(port), envSync+"="+sync)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "up\n", line)
	return cmd
}

func TestKillLosesNoAcknowledgedRecord(t *testing.T) {
	t.Parallel()
	for name, sync := range map[string]string{"page cache": "", "synced": "yes"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killAndCount(t, sync)
		})
	}
}

func killAndCount(t *testing.T, syncWrites string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	dir := filepath.Join(t.TempDir(), "kafka")
	serving := up(t, dir, l.Addr().(*net.TCPAddr).Port, syncWrites)
	create(t, addr, "deals", nil)

	var mu sync.Mutex
	acked := map[string]bool{}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	cl := client(t, addr, kgo.ProducerLinger(time.Millisecond), kgo.MaxBufferedRecords(64),
		kgo.RetryTimeout(time.Minute), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	stop := make(chan struct{})
	var producing sync.WaitGroup
	producing.Go(func() { // an idempotent producer that goes on through every kill
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			key := strconv.Itoa(i)
			cl.Produce(t.Context(), &kgo.Record{Topic: "deals", Key: []byte(key)}, func(_ *kgo.Record, err error) {
				if err == nil {
					mu.Lock()
					acked[key] = true
					mu.Unlock()
				}
			})
		}
	})
	const kills, between = 5, 500
	for range kills {
		before := count()
		require.Eventually(t, func() bool { return count() > before+between }, time.Minute, time.Millisecond)
		require.NoError(t, serving.Process.Kill())
		_ = serving.Wait()
		serving = up(t, dir, l.Addr().(*net.TCPAddr).Port, syncWrites)
	}
	close(stop)
	producing.Wait()
	require.NoError(t, cl.Flush(t.Context()))
	require.GreaterOrEqual(t, len(acked), kills*between)
	found := keys(t, addr, "deals")
	for key := range acked {
		require.True(t, found[key], key) // not Contains: it would look through all of them for each
	}
	t.Logf("%d acknowledged over %d kills", len(acked), kills)
}
