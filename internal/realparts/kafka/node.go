package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"conveyance/internal/devstack/child"
	"conveyance/internal/realparts"
)

// Which of a node's ports is for whom; further doors follow.
const (
	clientPort = iota
	controllerPort
	doorPorts
)

const (
	// startWithin is what a node may take on a machine that has other things to do; alone it takes 2 s.
	startWithin = 3 * time.Minute
	lookEvery   = 20 * time.Millisecond
)

// clusterID is any 16 bytes in base64url; a node of another cluster is refused.
const clusterID = "Conveyance_cluster_00A"

type node struct {
	id    int
	dir   string
	ports []int

	mu   sync.Mutex
	proc *child.Process // the latest; nil = never started
}

func (n *node) settings() string { return filepath.Join(n.dir, "server.properties") }
func (n *node) log() string      { return filepath.Join(n.dir, "server.log") }

// voter is how a founding controller names itself: its directory's id is 16 bytes in base64url too.
func (n *node) voter() string {
	return fmt.Sprintf("%d@%s:directory_of_broker_%dA", n.id, realparts.Loopback(n.ports[controllerPort]), n.id)
}

func (c *Cluster) jvm(class string, args ...string) []string {
	all := append([]string{"-Xmx" + strconv.Itoa(c.o.HeapMB) + "m"}, c.o.JVM...)
	all = append(all, "-Dlog4j2.configurationFile="+c.logging(), "-cp", filepath.Join(c.jars, "*"), class)
	return append(all, args...)
}

// format prepares a new node's data. Written by hand it would start, and leave every feature at its oldest.
func (c *Cluster) format(ctx context.Context, n *node) error {
	if _, err := os.Stat(filepath.Join(n.dir, "data", "meta.properties")); err == nil {
		return nil
	}
	args := []string{"format", "-t", clusterID, "-c", n.settings()}
	if c.isVoter(n.id) {
		args = append(args, "--initial-controllers", c.voters())
	}
	if c.o.Security != Open {
		args = append(args, "--add-scram", "SCRAM-SHA-512=[name="+Admin+",password="+AdminPassword+"]")
	}
	cmd := exec.CommandContext(ctx, c.java, c.jvm("kafka.tools.StorageTool", args...)...) //nolint:gosec // G204: our own
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("formatting node %d: %w: %s", n.id, err, out)
	}
	return nil
}

// start starts the node, unless it runs, and returns once it serves.
func (n *node) start(ctx context.Context, c *Cluster) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running() {
		return nil
	}
	from := int64(0)
	if was, err := os.Stat(n.log()); err == nil {
		from = was.Size()
	}
	proc, err := child.Start(child.Spec{
		Path: c.java, Args: c.jvm("kafka.Kafka", n.settings()), Dir: n.dir, Log: n.log(), Death: syscall.SIGKILL,
	})
	if err != nil {
		return err
	}
	n.proc = proc
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		said, err := tail(n.log(), from)
		if err != nil {
			return err
		}
		if bytes.Contains(said, []byte("Kafka Server started")) {
			return nil
		}
		select {
		case <-proc.Done():
			return fmt.Errorf("starting node %d: it ended: %s", n.id, said[max(0, len(said)-2000):])
		case <-ctx.Done():
			return fmt.Errorf("waiting for node %d: %w: %s", n.id, ctx.Err(), said[max(0, len(said)-2000):])
		case <-time.After(lookEvery):
		}
	}
}

func tail(path string, from int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

func (n *node) running() bool {
	if n.proc == nil {
		return false
	}
	select {
	case <-n.proc.Done():
		return false
	default:
		return true
	}
}

func (n *node) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running() {
		n.proc.Signal(syscall.SIGKILL)
		<-n.proc.Done()
	}
}

func (n *node) stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running() {
		return nil
	}
	n.proc.Signal(syscall.SIGCONT)
	return n.proc.Stop(syscall.SIGTERM, stopWithin)
}

func (n *node) signal(sig syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running() {
		return fmt.Errorf("signalling node %d: %w", n.id, errDown)
	}
	n.proc.Signal(sig)
	return nil
}

var errDown = errors.New("it does not run")

func (c *Cluster) node(id int) (*node, error) {
	n := c.nodes[id]
	if n == nil {
		return nil, fmt.Errorf("the cluster has no node %d", id)
	}
	return n, nil
}

// Kill ends a node with SIGKILL and returns when it is gone.
func (c *Cluster) Kill(id int) error {
	n, err := c.node(id)
	if err == nil {
		n.kill()
	}
	return err
}

// Pause freezes a node: its connections stay open, and nobody answers on them.
func (c *Cluster) Pause(id int) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	return n.signal(syscall.SIGSTOP)
}

// Resume wakes a node that is frozen.
func (c *Cluster) Resume(id int) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	return n.signal(syscall.SIGCONT)
}

// StopNode ends a node in order: it hands its partitions over first.
func (c *Cluster) StopNode(id int) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	return n.stop()
}

// StartNode starts a node that has ended, with its data, and returns once it serves. After a kill Kafka lets
// it back in only when its old session has run out.
func (c *Cluster) StartNode(ctx context.Context, id int) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	return n.start(ctx, c)
}

// Said is the end of a node's log.
func (c *Cluster) Said(id int) string {
	const last = 3000
	n, err := c.node(id)
	if err != nil {
		return err.Error()
	}
	text, err := tail(n.log(), 0)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-last):])
}
