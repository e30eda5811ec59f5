package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Free ports are looked for below the range from which the kernel gives outgoing connections theirs
// (32768 and up on Linux): a kept port is then still free at the next start.
const (
	freePortMin = 20000
	freePortMax = 32000
	// freePortTries is far more than a machine with half of the range in use needs.
	freePortTries = 200
)

// portFreeWithin is how long a killed up's children may take to let go of their ports.
const portFreeWithin = 5 * time.Second

// ports are up's own, all on the loopback.
type ports struct {
	Kafka, Registry, HTTP, Sandbox, Postgres int
}

var fixedPorts = ports{Kafka: 9092, Registry: 8081, HTTP: 8080, Sandbox: 8090, Postgres: 15432}

func (ports) addr(port int) string  { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
func (p ports) url(port int) string { return "http://" + p.addr(port) }

// choosePorts returns the fixed ports, or free ones that are kept in dir, since the tenants' files
// name the sandbox's. A port in use is said before anything starts.
func choosePorts(ctx context.Context, dir, mode string) (ports, error) {
	p := fixedPorts
	file := filepath.Join(dir, "ports.json")
	if mode == "auto" {
		text, err := os.ReadFile(file)
		switch {
		case err == nil:
			if err := json.Unmarshal(text, &p); err != nil {
				return p, fmt.Errorf("reading %s: %w", file, err)
			}
		case errors.Is(err, fs.ErrNotExist):
			if p, err = freePorts(ctx); err != nil {
				return p, err
			}
			if text, err = json.Marshal(p); err != nil {
				return p, err
			}
			if err := os.WriteFile(file, text, 0o600); err != nil {
				return p, fmt.Errorf("keeping the ports: %w", err)
			}
		default:
			return p, fmt.Errorf("reading %s: %w", file, err)
		}
	}
	return p, p.check(ctx, mode)
}

func freePorts(ctx context.Context) (ports, error) {
	var p ports
	for _, port := range []*int{&p.Kafka, &p.Registry, &p.HTTP, &p.Sandbox, &p.Postgres} {
		l, err := freePort(ctx)
		if err != nil {
			return p, err
		}
		defer func() { _ = l.Close() }() // all are held until each has its own
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

func freePort(ctx context.Context) (l net.Listener, err error) {
	for range freePortTries {
		at := freePortMin + rand.IntN(freePortMax-freePortMin) //nolint:gosec // G404: no secret
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", ports{}.addr(at)); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("finding a free port between %d and %d: %w", freePortMin, freePortMax, err)
}

// check waits a moment for ports that a killed up's Postgres is still letting go of.
func (p ports) check(ctx context.Context, mode string) error {
	within, cancel := context.WithTimeout(ctx, portFreeWithin)
	defer cancel()
	next := "use --ports auto"
	if mode == "auto" {
		next = "begin anew with --fresh"
	}
	for _, s := range []struct {
		name string
		port int
	}{
		{"Kafka", p.Kafka},
		{"the registry", p.Registry},
		{"the health page", p.HTTP},
		{"the simulated vendors", p.Sandbox},
		{"Postgres", p.Postgres},
	} {
		for {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.addr(s.port))
			if err == nil {
				_ = l.Close()
				break
			}
			select {
			case <-within.Done():
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return fmt.Errorf("port %d, which is for %s, is in use: stop what holds it, or %s", s.port, s.name, next)
			case <-time.After(readyLookEvery):
			}
		}
	}
	return nil
}

// lockDir keeps a second up out of a data folder for as long as this process lives.
func lockDir(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path)
		_ = f.Close()
		return nil, fmt.Errorf("%s is in use by another up (pid %s): stop it, or use another --dir", dir, holder)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0) // for the message above only
	}
	return func() { _ = f.Close() }, nil
}

// removeStack deletes what up makes in a folder, and nothing that it does not know.
func removeStack(dir string) error {
	unlock, err := lockDirIfThere(dir)
	if err != nil {
		return err
	}
	defer unlock()
	for _, name := range []string{"up.json", "ports.json", "kafka", "postgres", "postgres.log", "registry.json", "sandbox", "tenants", "secrets", "log"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("deleting %s for --fresh: %w", name, err)
		}
	}
	return nil
}

func lockDirIfThere(dir string) (func(), error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	return lockDir(dir)
}
