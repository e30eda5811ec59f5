package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/devstack/child"
	"conveyance/internal/devstack/localpg"
	"conveyance/internal/realparts"
)

// Bouncer is a PgBouncer that pools by transaction, in front of a server. It ends with the process that
// started it.
type Bouncer struct {
	URL string // of the same database as the server's URL

	dir  string
	proc *child.Process
}

// ErrNoBouncer means that the machine has no PgBouncer: apt-get install pgbouncer.
var ErrNoBouncer = errors.New("no pgbouncer installed: apt-get install pgbouncer")

// bouncerFile pools so tightly that a transaction rarely meets the connection of the one before, and
// takes no start-up parameter but those that PgBouncer itself knows.
const bouncerFile = `
[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 12
server_idle_timeout = 5
log_connections = 0
log_disconnections = 0
`

// StartBouncer puts a PgBouncer in front of the server of a URL and returns once it answers.
func StartBouncer(ctx context.Context, server string) (*Bouncer, error) {
	exe, err := bouncerBinary()
	if err != nil {
		return nil, err
	}
	to, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("reading the URL of the server behind PgBouncer: %w", err)
	}
	account, err := localpg.Account()
	if err != nil {
		return nil, err
	}
	ports, err := realparts.FreePorts(ctx, 1)
	if err != nil {
		return nil, err
	}
	b := &Bouncer{}
	if b.dir, err = os.MkdirTemp(root, "conveyance-bouncer-"); err != nil {
		return nil, fmt.Errorf("making PgBouncer's folder: %w", err)
	}
	users, file := filepath.Join(b.dir, "users"), filepath.Join(b.dir, "pgbouncer.ini")
	err = errors.Join(
		os.Chmod(b.dir, 0o755), //nolint:gosec // G302: its account must enter
		write(users, `"`+to.User.Username()+`" ""`+"\n"),
		write(file, fmt.Sprintf(bouncerFile, to.Hostname(), to.Port(), ports[0], users)),
	)
	if err == nil {
		b.proc, err = child.Start(child.Spec{
			Path: exe, Args: []string{"-q", file}, Dir: "/", Log: filepath.Join(b.dir, "log"), Account: account,
			Death: syscall.SIGKILL,
		})
	}
	to.Host = realparts.Loopback(ports[0])
	b.URL = to.String()
	if err == nil {
		err = b.answers(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting PgBouncer: %w", err), b.Stop())
	}
	return b, nil
}

func bouncerBinary() (string, error) {
	if exe, err := exec.LookPath("pgbouncer"); err == nil {
		return exe, nil
	}
	const debian = "/usr/sbin/pgbouncer" // not on everybody's PATH
	if _, err := os.Stat(debian); err == nil {
		return debian, nil
	}
	return "", ErrNoBouncer
}

func write(file, text string) error {
	return os.WriteFile(file, []byte(text), 0o644) //nolint:gosec // G306: its account must read it
}

func (b *Bouncer) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, b.URL)
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-b.proc.Done():
			text, _ := os.ReadFile(filepath.Join(b.dir, "log"))
			return fmt.Errorf("it ended at once: %s", text)
		case <-ctx.Done():
			return err
		case <-time.After(lookEvery):
		}
	}
}

// Stop ends PgBouncer, and with it every connection through it.
func (b *Bouncer) Stop() error {
	if b.proc != nil {
		_ = b.proc.Stop(syscall.SIGKILL, stopWithin)
	}
	return os.RemoveAll(b.dir)
}
