// Package kafka runs a real Apache Kafka (KRaft) on the loopback, of one broker or of three, from jars of
// Maven Central: for tests, benchmarks and the fault lab. Its nodes are children that die with the process
// that started them, and each can be killed, frozen, stopped and started alone.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"conveyance/internal/realparts"
)

// Version is Apache Kafka's.
const Version = "4.3.1"

// leastJava is what Kafka 4 runs on.
const leastJava = 17

// Layout is which nodes a cluster has, and what they are.
type Layout uint8

// The layouts.
const (
	One   Layout = iota // one node, broker and controller
	Three               // three nodes, each broker and controller; copies 3, min.insync.replicas 2
	Split               // brokers 1 to 3 and controller 4: for tests that end two brokers
)

func (l Layout) brokers() []int {
	if l == One {
		return []int{1}
	}
	return []int{1, 2, 3}
}

func (l Layout) voters() []int {
	switch l {
	case One:
		return []int{1}
	case Split:
		return []int{4}
	default:
		return []int{1, 2, 3}
	}
}

// nodes are all, controllers that are no brokers first.
func (l Layout) nodes() []int {
	if l == Split {
		return []int{4, 1, 2, 3}
	}
	return l.brokers()
}

// Security is how clients prove who they are, and what they may do.
type Security uint8

// The kinds of security.
const (
	Open  Security = iota // anybody may do anything
	SCRAM                 // SASL/SCRAM-SHA-512 in plain text; who has no ACL may do nothing
	TLS                   // the same over TLS
)

// Admin may do anything in a cluster that is not Open.
const (
	Admin         = "admin"
	AdminPassword = "admin-secret"
)

// Options of a cluster.
type Options struct {
	Dir      string // data, settings and logs; made where it does not exist
	Layout   Layout
	Security Security
	Set      map[string]string // further lines of server.properties
	Doors    []Door            // further listeners for clients, with TLS only
	JVM      []string          // nil = what starts fastest (SerialGC and C1 alone): benchmarks want JVMFast
	HeapMB   int               // 0 = heapDefault
}

// heapDefault is enough for tests: 200 MiB resident.
const heapDefault = 256

// JVMFast are flags for benchmarks: the compiler's last stage is on, so that warm code is fast code.
func JVMFast() []string { return []string{"-XX:+UseG1GC"} }

// FastFailover are settings by which a dead leader is replaced in 2 to 4 s; Kafka's own take 7 to 11 s. A machine
// that gives a node no processor for 2 s loses leaders by them.
func FastFailover() map[string]string {
	return map[string]string{
		"broker.heartbeat.interval.ms":          "200",
		"broker.session.timeout.ms":             "2000",
		"controller.quorum.fetch.timeout.ms":    "1000",
		"controller.quorum.election.timeout.ms": "500",
	}
}

// Cluster is a running Kafka. It is safe for concurrent use.
type Cluster struct {
	o     Options
	java  string
	jars  string
	nodes map[int]*node
	tls   *Authority // nil where TLS is not spoken
}

// Start formats Dir where it is new, starts every node and returns once all of them serve. ctx bounds the
// start only. The cluster runs until Stop, Drop or the end of the process.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	c := &Cluster{o: o, nodes: map[int]*node{}}
	if c.java, err = realparts.Java(ctx, leastJava); err != nil {
		return nil, err
	}
	if c.jars, err = jars(ctx); err != nil {
		return nil, err
	}
	if err := c.layOut(ctx); err != nil {
		return nil, err
	}
	work, part := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		work.Go(func() error { return c.format(part, n) })
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	work, part = errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		work.Go(func() error { return n.start(part, c) })
	}
	if err := work.Wait(); err != nil {
		return nil, errors.Join(err, c.Drop())
	}
	return c, nil
}

// jars are Kafka's own and what its log needs: kafka_2.13 brings log4j 2 without a binding of its slf4j 1.7.
func jars(ctx context.Context) (string, error) {
	return realparts.Jars(ctx, "kafka-"+Version,
		realparts.Artifact{Group: "org.apache.kafka", Name: "kafka_2.13", Version: Version},
		realparts.Artifact{Group: "org.apache.logging.log4j", Name: "log4j-slf4j-impl", Version: "2.25.4"},
	)
}

// layOut gives each node its ports and folder, and writes what the nodes are started with.
func (c *Cluster) layOut(ctx context.Context) error {
	if c.o.HeapMB == 0 {
		c.o.HeapMB = heapDefault
	}
	if c.o.JVM == nil {
		c.o.JVM = []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}
	}
	dir, err := filepath.Abs(c.o.Dir)
	if err != nil {
		return err
	}
	c.o.Dir = dir
	each := 2 + len(c.o.Doors)
	ports, err := realparts.FreePorts(ctx, each*len(c.o.Layout.nodes()))
	if err != nil {
		return err
	}
	for i, id := range c.o.Layout.nodes() {
		n := &node{id: id, dir: filepath.Join(dir, fmt.Sprintf("node-%d", id)), ports: ports[i*each : (i+1)*each]}
		if err := os.MkdirAll(n.dir, 0o755); err != nil { //nolint:gosec // G301: a folder of tests
			return fmt.Errorf("making the folder of node %d: %w", id, err)
		}
		c.nodes[id] = n
	}
	if c.o.Security == TLS {
		if err := c.certify(); err != nil {
			return err
		}
	}
	if err := os.WriteFile(c.logging(), []byte(loggingText), 0o600); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := os.WriteFile(n.settings(), []byte(c.properties(n)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) logging() string { return filepath.Join(c.o.Dir, "log4j2.properties") }

// loggingText lets through warnings, and the one line that says that a node serves: its port opens earlier.
const loggingText = `status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.up.name = kafka.server.KafkaRaftServer
logger.up.level = info
`

// Bootstrap is every broker's address for clients, separated by commas.
func (c *Cluster) Bootstrap() string { return strings.Join(c.Addrs(), ",") }

// Addrs is Bootstrap as a list.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, id := range c.o.Layout.brokers() {
		all = append(all, realparts.Loopback(c.nodes[id].ports[clientPort]))
	}
	return all
}

// Nodes are the numbers of all brokers.
func (c *Cluster) Nodes() []int { return c.o.Layout.brokers() }

// stopWithin is what a node has for a controlled shutdown before it is killed.
const stopWithin = 15 * time.Second

// Stop ends every node in order, and keeps the data. Brokers hand their partitions over before they end,
// for which they need the controllers: those go last.
func (c *Cluster) Stop() error {
	var work errgroup.Group
	for _, id := range c.o.Layout.brokers() {
		work.Go(c.nodes[id].stop)
	}
	err := work.Wait()
	for _, id := range c.o.Layout.voters() {
		err = errors.Join(err, c.nodes[id].stop())
	}
	return err
}

// Drop kills every node at once and removes the data.
func (c *Cluster) Drop() error {
	for _, n := range c.nodes {
		n.kill()
	}
	return os.RemoveAll(c.o.Dir)
}
