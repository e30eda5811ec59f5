package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/devstack/broker"
)

// server is the Kafka of a benchmark.
type server interface {
	Addr() string
	Stop() error
}

// openKafka starts an embedded broker, or takes the cluster that was given.
func (l *lab) openKafka(ctx context.Context) (err error) {
	if l.o.Kafka == "" {
		l.kafka, err = broker.Start(ctx, broker.Options{Dir: filepath.Join(l.dir, "kafka"), Log: l.log})
		return err
	}
	there, err := topicsAt(ctx, l.o.Kafka)
	if err != nil {
		return err
	}
	l.kafka = given{l.o.Kafka, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
		defer cancel()
		return clean(ctx, l.o.Kafka, there)
	}}
	return nil
}

// copies of a topic's partitions: as many as the cluster makes by itself.
const copies = -1

// given is a real cluster. What a benchmark makes on it is deleted after it, so that none pays for another's
// data; what was there before is left alone, and a topic of a benchmark's name is refused by its making.
type given struct {
	addr string
	stop func() error
}

func (g given) Addr() string { return g.addr }
func (g given) Stop() error  { return g.stop() }

// cleanWithin bounds the deletion of a benchmark's topics, and with them of its groups' offsets.
const cleanWithin = time.Minute

func adminAt(addr string, fn func(*kadm.Client) error) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return fmt.Errorf("reaching Kafka at %s: %w", addr, err)
	}
	defer cl.Close()
	return fn(kadm.NewClient(cl))
}

func topicsAt(ctx context.Context, addr string) (names []string, err error) {
	err = adminAt(addr, func(adm *kadm.Client) error {
		all, err := adm.ListTopics(ctx)
		names = all.Names()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the topics of Kafka at %s: %w", addr, err)
	}
	return names, nil
}

// clean deletes every topic that was not there before.
func clean(ctx context.Context, addr string, there []string) error {
	now, err := topicsAt(ctx, addr)
	if err != nil {
		return err
	}
	ours := slices.DeleteFunc(now, func(name string) bool { return slices.Contains(there, name) })
	if len(ours) == 0 {
		return nil
	}
	return adminAt(addr, func(adm *kadm.Client) error {
		gone, err := adm.DeleteTopics(ctx, ours...)
		return errors.Join(err, gone.Error())
	})
}
