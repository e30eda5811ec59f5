// Package registry runs a real schema registry that speaks Confluent's protocol, Apicurio Registry, on the
// loopback: for tests and the fault lab. It is a child that dies with the process that started it.
package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"conveyance/internal/devstack/child"
	"conveyance/internal/realparts"
)

// Version is Apicurio Registry's.
const Version = "3.3.3"

const (
	leastJava = 21
	// startWithin is what it may take on a machine that has other things to do; alone it takes 4 s.
	startWithin = 5 * time.Minute
	stopWithin  = 15 * time.Second
	lookEvery   = 50 * time.Millisecond
	askWithin   = 5 * time.Second
)

// Registry is a running registry. It is safe for concurrent use.
type Registry struct {
	URL string // for a client of Confluent's registry

	java, app, dir string
	ports          []int // clients, then health and metrics

	mu   sync.Mutex
	proc *child.Process
}

// Start starts a registry whose schemas lie in dir, which is made where it does not exist, and returns once it
// answers. Its compatibility is BACKWARD, Confluent's default; Apicurio's own is none.
func Start(ctx context.Context, dir string) (*Registry, error) {
	java, err := realparts.Java(ctx, leastJava)
	if err != nil {
		return nil, err
	}
	app, err := realparts.Archive(ctx, "apicurio-"+Version,
		realparts.Artifact{Group: "io.apicurio", Name: "apicurio-registry-app", Version: Version}, ":tar.gz:all")
	if err != nil {
		return nil, err
	}
	ports, err := realparts.FreePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the registry's folder: %w", err)
	}
	r := &Registry{java: java, app: app, dir: dir, ports: ports, URL: "http://" + realparts.Loopback(ports[0]) + "/apis/ccompat/v7"}
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, r.Kill())
	}
	return r, nil
}

func (r *Registry) args() []string {
	return []string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dquarkus.http.host=127.0.0.1", "-Dquarkus.http.port=" + strconv.Itoa(r.ports[0]),
		"-Dquarkus.management.host=127.0.0.1", "-Dquarkus.management.port=" + strconv.Itoa(r.ports[1]), // else on every address
		"-Dquarkus.http.access-log.enabled=false",
		"-Dapicurio.datasource.url=jdbc:h2:file:" + filepath.Join(r.dir, "schemas") + ";WRITE_DELAY=0", // else a kill takes back half a second
		"-Dapicurio.datasource.jdbc.initial-size=2", "-Dapicurio.datasource.jdbc.min-size=2", "-Dapicurio.datasource.jdbc.max-size=10",
		"-Dapicurio.storage.snapshot.location=" + r.dir,
		"-jar", filepath.Join(r.app, "quarkus-run.jar"),
	}
}

func (r *Registry) log() string { return filepath.Join(r.dir, "registry.log") }

// Start starts it again where it has ended, with its schemas, and returns once it answers.
func (r *Registry) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running() {
		return nil
	}
	proc, err := child.Start(child.Spec{Path: r.java, Args: r.args(), Dir: r.dir, Log: r.log(), Death: syscall.SIGKILL})
	if err != nil {
		return err
	}
	r.proc = proc
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		err := r.call(ctx, http.MethodPut, "/config", `{"compatibility":"BACKWARD"}`)
		if err == nil {
			return nil
		}
		select {
		case <-proc.Done():
			return fmt.Errorf("starting the registry: it ended: %s", r.Said())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the registry: %w: %s", err, r.Said())
		case <-time.After(lookEvery):
		}
	}
}

func (r *Registry) call(ctx context.Context, method, path, body string) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.URL+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return nil
}

func (r *Registry) running() bool {
	if r.proc == nil {
		return false
	}
	select {
	case <-r.proc.Done():
		return false
	default:
		return true
	}
}

// Signal sends the registry a signal; one that has ended gets none.
func (r *Registry) Signal(sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running() {
		r.proc.Signal(sig)
	}
}

// Kill ends it with SIGKILL and returns when it is gone. The schemas stay.
func (r *Registry) Kill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running() {
		r.proc.Signal(syscall.SIGKILL)
		<-r.proc.Done()
	}
	return nil
}

// Stop ends it in order. The schemas stay.
func (r *Registry) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.running() {
		return nil
	}
	r.proc.Signal(syscall.SIGCONT)
	return r.proc.Stop(syscall.SIGTERM, stopWithin)
}

// Said is the end of its log.
func (r *Registry) Said() string {
	const last = 3000
	text, err := os.ReadFile(r.log())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-last):]))
}
