// Package broker is the Kafka that up brings along: franz-go's kfake with its data on the disk, for
// one machine. A record that it acknowledged survives kill -9 of its process (and, with SyncWrites,
// of the machine). What it is not, measured: its transactions and its compaction do not survive a
// kill, and a producer that resends after one leaves duplicates. Nothing here uses the first two,
// and the ledger makes the third harmless; a cluster runs Apache Kafka.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"conveyance/internal/devstack/dirlock"
)

const (
	// retainEveryDefault is how often expired records are deleted: they are counted in days.
	retainEveryDefault = 10 * time.Minute
	// sessionMin is the shortest session that a group member may ask for, so that tests of dead
	// members need not wait for Kafka's 6 s.
	sessionMin = time.Second
	// heartbeat of KIP-848 groups, which is the broker's to set and delays each join by as much;
	// Kafka's default is 5 s.
	heartbeat = 200 * time.Millisecond
)

// Options of a broker.
type Options struct {
	Dir  string // the data; made where it does not exist, locked while the broker runs
	Port int    // on 127.0.0.1; 0 = any free one
	// Advertise is the host:port, an IP address, that clients are told; empty = where it listens.
	Advertise string
	// SyncWrites makes each batch reach the disk before it is acknowledged: records then survive
	// the machine, at about half a millisecond a batch on a fast disk.
	SyncWrites  bool
	RetainEvery time.Duration // 0 = 10 minutes
	// Trouble is told, at most once in troubleEvery, when the disk refuses a write: nothing that was
	// acknowledged is lost, and nothing more is accepted. nil = it is only logged.
	Trouble func(error)
	Log     *zap.Logger
}

// Broker is a running broker. It is safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	lock    *dirlock.Lock
	client  *kgo.Client
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	stop    sync.Once
	stopErr error
}

// Start brings back what lies in Dir and serves it. It returns a *dirlock.InUseError where another
// process serves that folder, and a sentence of its own where the port is taken or the disk full.
// ctx bounds the start only: the broker runs until Stop.
func Start(ctx context.Context, opts Options) (*Broker, error) {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, explain(opts, fmt.Errorf("making the Kafka data folder: %w", err))
	}
	lock, err := dirlock.Take(filepath.Join(opts.Dir, "lock"))
	if err != nil {
		return nil, explain(opts, err)
	}
	b := &Broker{lock: lock}
	b.cluster, err = kfake.NewCluster(options(opts)...)
	if err == nil {
		// its memory of topics is short, so that one is seen soon after it is made
		b.client, err = kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.MetadataMinAge(heartbeat))
	}
	if err != nil {
		err = explain(opts, fmt.Errorf("starting the embedded Kafka in %s: %w", opts.Dir, err))
		return nil, errors.Join(err, b.Stop())
	}
	every := opts.RetainEvery
	if every == 0 {
		every = retainEveryDefault
	}
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	b.wg.Go(func() { retainForever(ctx, kadm.NewClient(b.client), every, opts.Log) })
	return b, nil
}

func options(opts Options) []kfake.Opt {
	list := []kfake.Opt{
		kfake.ClusterID("conveyance-up"),
		kfake.Ports(opts.Port),
		kfake.DataDir(opts.Dir),
		kfake.GroupMinSessionTimeout(sessionMin),
		kfake.WithLogger(&logger{opts: opts}),
		kfake.BrokerConfigs(map[string]string{
			"group.consumer.heartbeat.interval.ms": millis(heartbeat),
			// kfake's cleaner deletes a topic's segments before it writes the compacted ones, and what
			// a kill leaves is gone. So it never runs: a compacted topic keeps every record here, which
			// its readers must bear anyway, and its configuration stays what it is on a real cluster.
			// The same cleaner would apply kfake's 7 days to every topic without a retention of its
			// own; expired records are deleted by retain instead.
			"log.cleaner.backoff.ms": millis(never),
			"log.retention.ms":       "-1",
		}),
	}
	if opts.Advertise != "" {
		list = append(list, kfake.ListenFn(advertising(opts.Advertise)))
	}
	if opts.SyncWrites {
		list = append(list, kfake.SyncWrites())
	}
	return list
}

// never is the longest that kfake can wait, some 290 years short of overflowing its timer.
const never = 100 * 365 * 24 * time.Hour

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Addr is host:port for a Kafka client.
func (b *Broker) Addr() string { return b.cluster.ListenAddrs()[0] }

// Stop ends the broker and gives the folder free. A second call does nothing.
func (b *Broker) Stop() error {
	b.stop.Do(func() {
		if b.cancel != nil {
			b.cancel()
			b.wg.Wait()
		}
		if b.client != nil {
			b.client.Close()
		}
		if b.cluster != nil {
			b.cluster.Close()
		}
		b.stopErr = b.lock.Release()
	})
	return b.stopErr
}

// explain puts what the person at the terminal can do before an error that has a known remedy.
func explain(opts Options, err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d is in use by another program: stop it, or use --ports auto: %w", opts.Port, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of %s is full: free some space; what was acknowledged is kept, "+
			"nothing more is accepted until then: %w", opts.Dir, err)
	case errors.As(err, &op) && errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d may not be used by this account: use --ports auto: %w", opts.Port, err)
	default:
		return err
	}
}
