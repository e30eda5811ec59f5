// Package chaos is the fault lab: it runs the binary that people run, with every stage as a process
// and simulated vendors, kills and freezes what it likes, and has the judge look at what became of
// it. The command chaos, the end-to-end tests and the lanes of mutants and crash points all use it.
// A Bus may be used by several goroutines at once.
package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/postgres"
)

// Config says which bus runs. An address that is empty is of a part of up's own.
type Config struct {
	Exe                       string   // the binary
	Dir                       string   // up's folder; a second Start goes on where the first ended
	Kafka, Registry, Postgres string   // of real parts
	Args                      []string // further flags of up
	Env                       []string // further environment of up, its stages and their stand-ins
	// Parts are the real parts that are not up's, each under the name of up's own that it stands for
	// ("broker", "registry"): how one is signalled, and that it is started again after a SIGKILL.
	Parts map[string]func(syscall.Signal) bool
}

// Info is up's ready line.
type Info struct {
	Kafka       string            `json:"kafka"`
	Registry    string            `json:"registry"`
	Postgres    string            `json:"postgres"`
	Sandbox     string            `json:"sandbox"`
	HTTP        string            `json:"http"`
	TopicPrefix string            `json:"topic_prefix"`
	Tenants     map[string]Tenant `json:"tenants"`
}

// Tenant has accounts by "vendor/name".
type Tenant struct {
	Accounts map[string]Account `json:"accounts"`
}

// Account has a door where its vendor sends webhooks.
type Account struct {
	Webhook string `json:"webhook"`
	Secret  string `json:"secret"`
}

// Bus is a running up in a process of its own, with every stage below it.
type Bus struct {
	Config
	Info Info
	Pool *pgxpool.Pool // for looking

	cmd   *exec.Cmd
	ended chan struct{} // closed when up has ended
	said  said
	began time.Time // of this up, and of its vendors' memory
}

// quick is the environment of every stage: an unknown outcome is settled after 4 s, and a record is
// read again as soon as the simulated vendors' time allows, so that many faults end soon.
func quick() []string {
	return []string{"CONVEYANCE_CALL_DEADLINE=2s", "CONVEYANCE_VENDOR_LAG=1s", "CONVEYANCE_POLLING_RULE=9s"}
}

// Start starts up and waits until it says that it is ready. The bus outlives ctx, and ends by Stop.
func Start(ctx context.Context, cfg Config) (*Bus, error) {
	b := &Bus{Config: cfg}
	if err := b.Run(ctx); err != nil {
		return nil, err
	}
	var err error
	if b.Pool, err = postgres.Open(ctx, b.Info.Postgres, "chaos"); err != nil {
		b.Stop(syscall.SIGTERM)
		return nil, err
	}
	return b, nil
}

// Run starts up anew after Stop, in the same folder.
func (b *Bus) Run(ctx context.Context) error {
	args := append([]string{
		"up", "--dir", b.Dir, "--ports", "auto", "--no-story", "--json",
		"--kafka", b.Kafka, "--registry", b.Registry, "--postgres", b.Postgres,
		"--time-scale", "100", "--poll-every", "200ms", "--log-level", "warn",
	}, b.Args...)
	b.began = time.Now()
	b.cmd = exec.CommandContext(context.WithoutCancel(ctx), b.Exe, args...) //nolint:gosec // G204: the caller's own binary
	b.cmd.Env = b.env(b.cmd)
	b.cmd.Stderr = &b.said
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.start(); err != nil {
		return fmt.Errorf("starting up: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &b.Info)
	}
	if err != nil {
		b.end(syscall.SIGTERM)
		return fmt.Errorf("reading up's ready line: %w; it said: %s", err, b.Said())
	}
	return nil
}

// start ties up's life to this process's: the kernel does so with the thread that forked, which is kept
// as long. A Ctrl-C at a terminal is not up's, but its caller's.
func (b *Bus) start() error {
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	b.ended = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := b.cmd.Start()
		started <- err
		if err == nil {
			_ = b.cmd.Wait()
		}
		close(b.ended)
	}()
	return <-started
}

func (b *Bus) env(cmd *exec.Cmd) []string {
	return append(append(cmd.Environ(), quick()...), b.Env...)
}

// Stop ends up by a signal, waits for it, and closes Pool.
func (b *Bus) Stop(sig syscall.Signal) {
	b.end(sig)
	if b.Pool != nil {
		b.Pool.Close()
	}
}

func (b *Bus) end(sig syscall.Signal) {
	_ = b.cmd.Process.Signal(sig) // "already finished" is what the caller wanted
	<-b.ended
}

// Said is all that up has told a person.
func (b *Bus) Said() string {
	b.said.mu.Lock()
	defer b.said.mu.Unlock()
	return b.said.text.String()
}

// said collects what up writes.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// logLines is how much of each stage's log a person is shown.
const logLines = 8

// Logs are the last lines of every stage's log.
func (b *Bus) Logs() string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(b.Dir, "log", "*.log"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(f), strings.Join(lines[max(0, len(lines)-logLines):], "\n"))
	}
	return all.String()
}

// Pause lets the bus run for a while: faults need time between them, and no check depends on it.
func Pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
