package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/devstack/child"
)

// server is one of the two; its port is its own for ever.
type server struct {
	pair *Pair
	port int
	data string
	proc *child.Process
}

func (s *server) url(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", user, s.port, database)
}

// settings go into the file, not onto the command line: pg_rewind recovers a killed server by itself,
// with what stands there.
const settings = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
fsync = off                # the machine never fails here, only processes do
wal_log_hints = on
wal_keep_size = 512MB      # in the place of a slot
wal_receiver_timeout = 5s
wal_retrieve_retry_interval = 200ms
`

// start runs the server and returns once it answers. Where processes of a killed one still end, it
// tries again.
func (s *server) start(ctx context.Context) error {
	args := []string{"-D", s.data, "-p", strconv.Itoa(s.port)}
	return s.pair.await(ctx, "Postgres answers, whose log is "+s.data+".log", func(ctx context.Context) (bool, error) {
		if s.proc == nil || s.ended() {
			proc, err := child.Start(child.Spec{
				Path: filepath.Join(s.pair.bin, "postgres"), Args: args, Dir: "/", Log: s.data + ".log",
				Account: s.pair.account, Death: syscall.SIGINT,
			})
			if err != nil {
				return false, err
			}
			s.proc = proc
		}
		err := s.exec(ctx, "SELECT 1")
		return err == nil && !s.ended(), err
	})
}

func (s *server) ended() bool {
	select {
	case <-s.proc.Done():
		return true
	default:
		return false
	}
}

// stopWithin is how long a fast shutdown may take.
const stopWithin = 10 * time.Second

// stop ends the server; what is frozen or slow is killed.
func (s *server) stop(ctx context.Context) error {
	if s.proc == nil {
		return nil
	}
	s.signal(syscall.SIGCONT)
	_ = s.proc.Stop(syscall.SIGINT, stopWithin)
	return s.kill(ctx)
}

// kill kills the postmaster, and waits for its children, which end by themselves once they notice. A
// frozen child would not: it is killed too.
func (s *server) kill(ctx context.Context) error {
	if s.proc == nil {
		return nil
	}
	children := s.children()
	_ = s.proc.Stop(syscall.SIGKILL, stopWithin)
	for _, pid := range children {
		if state(pid) == stopped {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return s.pair.await(ctx, "the killed Postgres has ended", func(context.Context) (bool, error) {
		for _, pid := range children {
			if st := state(pid); st != "" && st != zombie {
				return false, fmt.Errorf("process %d lives on", pid)
			}
		}
		return true, nil
	})
}

// signal reaches the postmaster and its children.
func (s *server) signal(sig syscall.Signal) {
	if s.proc == nil || s.ended() {
		return
	}
	s.proc.Signal(sig)
	for _, pid := range s.children() {
		_ = syscall.Kill(pid, sig)
	}
}

const (
	stopped = "T"
	zombie  = "Z"
)

// state of a process as the kernel tells it; empty where there is none.
func state(pid int) string {
	cells := stat(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if len(cells) == 0 {
		return ""
	}
	return cells[0]
}

// stat is what follows a process's name: its state, its parent.
func stat(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)
}

// children are the server's processes below the postmaster.
func (s *server) children() []int {
	var found []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		cells := stat(file)
		if len(cells) < 2 || cells[1] != strconv.Itoa(s.proc.PID) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

func (s *server) ask(ctx context.Context, do func(*pgx.Conn) error) error {
	c, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	return do(c)
}

func (s *server) exec(ctx context.Context, sql string) error {
	err := s.ask(ctx, func(c *pgx.Conn) error { _, err := c.Exec(ctx, sql); return err })
	if err != nil {
		return fmt.Errorf("running %s on port %d: %w", sql, s.port, err)
	}
	return nil
}

// own gives a folder to the account that runs Postgres.
func (p *Pair) own(dir string, mode os.FileMode) error {
	if err := os.Chmod(dir, mode); err != nil {
		return err
	}
	if p.account == nil {
		return nil
	}
	return os.Chown(dir, int(p.account.Uid), int(p.account.Gid))
}

// tool runs one of Postgres's programs as its account.
func (p *Pair) tool(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...) //nolint:gosec // G204: a found binary
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.account}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running %s: %w", name, errors.Join(err, errors.New(strings.TrimSpace(string(out)))))
	}
	return nil
}
