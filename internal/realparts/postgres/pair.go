// Package postgres runs a pair of Postgres servers as a franchise does, from the machine's binaries: a
// primary and a synchronous standby. Tests kill, freeze and promote, and may break the pair's promise
// on purpose. Servers end with the process that started them.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/internal/devstack/localpg"
	"conveyance/internal/realparts"
	"conveyance/internal/realparts/proxy"
)

// root is where the account that runs Postgres may enter; a socket's path is no matter, there is none.
const root = "/var/tmp"

// Pair is a primary and its synchronous standby. One goroutine may use it at a time.
type Pair struct {
	URL string // of both: libpq's list of hosts, of which the one that takes writes is meant

	dir     string
	bin     string
	account *syscall.Credential
	primary *server
	standby *server
	cable   *proxy.Proxy // from the standby to its primary
	cut     func()       // mends the cable; nil = whole
}

const (
	user = "conveyance" // superuser, and the database
	// standbyName is what the primary waits for.
	standbyName = "standby"
)

// StartPair initialises two servers and returns once the standby streams and is synchronous.
func StartPair(ctx context.Context) (p *Pair, err error) {
	p = &Pair{}
	if p.bin, err = localpg.Binaries(ctx); err != nil {
		return nil, err
	}
	for _, tool := range []string{"pg_basebackup", "pg_rewind"} {
		if _, err := os.Stat(filepath.Join(p.bin, tool)); err != nil {
			return nil, fmt.Errorf("starting a pair of Postgres: %w: install PostgreSQL", err)
		}
	}
	if p.account, err = localpg.Account(); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp(root, "conveyance-pair-"); err != nil {
		return nil, fmt.Errorf("making the pair's folder: %w", err)
	}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.Stop(context.WithoutCancel(ctx)))
	}
	return p, nil
}

func (p *Pair) start(ctx context.Context) error {
	if err := p.own(p.dir, 0o700); err != nil {
		return err
	}
	ports, err := realparts.FreePorts(ctx, 2)
	if err != nil {
		return err
	}
	p.primary = &server{pair: p, port: ports[0], data: filepath.Join(p.dir, "a")}
	p.standby = &server{pair: p, port: ports[1], data: filepath.Join(p.dir, "b")}
	p.URL = p.url(user)
	if p.cable, err = proxy.Start(ctx, realparts.Loopback(p.primary.port)); err != nil {
		return err
	}
	err = p.tool(ctx, "initdb", "-D", p.primary.data, "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return err
	}
	if err := p.configure(filepath.Join(p.primary.data, "postgresql.conf")); err != nil {
		return err
	}
	if err := p.primary.start(ctx); err != nil {
		return err
	}
	if err := p.primary.exec(ctx, "CREATE DATABASE "+user); err != nil {
		return err
	}
	err = p.tool(ctx, "pg_basebackup", "-D", p.standby.data, "-X", "stream", "-c", "fast", "-R", "--no-sync", "-d", p.upstream())
	if err != nil {
		return err
	}
	if err := p.standby.start(ctx); err != nil {
		return err
	}
	return p.Synchronous(ctx, true)
}

func (p *Pair) configure(file string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configuring Postgres: %w", err)
	}
	_, err = f.WriteString(settings)
	return errors.Join(err, f.Close())
}

// url names both servers, always in the same order: a client asks each which one takes writes.
func (p *Pair) url(database string) string {
	a, b := p.primary.port, p.standby.port
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d,127.0.0.1:%d/%s?sslmode=disable&target_session_attrs=read-write",
		user, a, b, database)
}

// upstream is how a standby reaches its primary.
func (p *Pair) upstream() string {
	host, port, _ := strings.Cut(p.cable.Addr, ":")
	return fmt.Sprintf("host=%s port=%s user=%s dbname=postgres application_name=%s", host, port, user, standbyName)
}

// Primary is the address of the server that takes writes.
func (p *Pair) Primary() string { return realparts.Loopback(p.primary.port) }

// PrimaryURL leads to the server that is the primary now, and stays with it.
func (p *Pair) PrimaryURL() string { return p.primary.url(user) }

// Synchronous makes commits wait for the standby, once it streams, or lets them go on without it.
func (p *Pair) Synchronous(ctx context.Context, on bool) error {
	name := ""
	if on {
		name = standbyName
		if err := p.streams(ctx); err != nil {
			return err
		}
	}
	if err := p.primary.exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = '"+name+"'"); err != nil {
		return err
	}
	if err := p.primary.exec(ctx, "SELECT pg_reload_conf()"); err != nil || !on {
		return err
	}
	return p.standing(ctx, "the standby is synchronous", "sync_state = 'sync'")
}

// streams waits until the standby has all that the primary has.
func (p *Pair) streams(ctx context.Context) error {
	return p.standing(ctx, "the standby streams", "state = 'streaming' AND replay_lsn = sent_lsn")
}

// standing waits until the primary says so of its standby.
func (p *Pair) standing(ctx context.Context, what, condition string) error {
	look := "SELECT count(*) FROM pg_stat_replication WHERE application_name = $1 AND " + condition
	return p.await(ctx, what, func(ctx context.Context) (bool, error) {
		n := 0
		err := p.primary.ask(ctx, func(c *pgx.Conn) error { return c.QueryRow(ctx, look, standbyName).Scan(&n) })
		return n > 0, err
	})
}

// CutStandby lets nothing pass between the two, until MendStandby. While the pair is synchronous,
// commits hang from now on.
func (p *Pair) CutStandby() { p.cut = p.cable.Cut(proxy.Cut{Kind: proxy.Reset}) }

// MendStandby ends CutStandby.
func (p *Pair) MendStandby() {
	if p.cut != nil {
		p.cut()
		p.cut = nil
	}
}

// Kill is kill -9 of the primary's postmaster, and returns when all its processes have ended.
func (p *Pair) Kill(ctx context.Context) error { return p.primary.kill(ctx) }

// Restart starts a killed primary again, as primary.
func (p *Pair) Restart(ctx context.Context) error { return p.primary.start(ctx) }

// Freeze stops every process of the primary where it is: its kernel still takes connections and
// bytes, and nobody answers.
func (p *Pair) Freeze() { p.primary.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (p *Pair) Thaw() { p.primary.signal(syscall.SIGCONT) }

// Promote makes the standby the primary, without a standby of its own: commits wait for nobody until
// Rejoin. The former primary must have been killed, or be killed before it thaws: two may take writes
// else.
func (p *Pair) Promote(ctx context.Context) error {
	if err := p.standby.exec(ctx, "SELECT pg_promote()"); err != nil {
		return err
	}
	p.primary, p.standby = p.standby, p.primary
	return p.Synchronous(ctx, false)
}

// Rejoin takes the former primary back as synchronous standby. What only it had committed is gone.
func (p *Pair) Rejoin(ctx context.Context) error {
	if err := p.standby.kill(ctx); err != nil {
		return err
	}
	p.MendStandby()
	p.cable.Lead(p.Primary())
	if err := p.primary.exec(ctx, "CHECKPOINT"); err != nil { // else its control file still tells the old timeline
		return err
	}
	if err := p.tool(ctx, "pg_rewind", "-D", p.standby.data, "-R", "--no-sync", "--source-server", p.upstream()); err != nil {
		return err
	}
	if err := p.standby.start(ctx); err != nil {
		return err
	}
	return p.Synchronous(ctx, true)
}

// Stop ends both servers and deletes their data.
func (p *Pair) Stop(ctx context.Context) error {
	var errs []error
	for _, s := range []*server{p.standby, p.primary} {
		if s != nil {
			errs = append(errs, s.stop(ctx))
		}
	}
	if p.cable != nil {
		p.cable.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// lookEvery is how often what is waited for is looked at.
const lookEvery = 20 * time.Millisecond

// await asks until yes; an error is asked again.
func (p *Pair) await(ctx context.Context, what string, yes func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		ok, err := yes(ctx)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(lookEvery):
		}
	}
}

// patience covers a recovery with a lot of log on a loaded machine.
const patience = 60 * time.Second
