package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Login are the options of a client that may do anything.
func (c *Cluster) Login() ([]kgo.Opt, error) { return c.LoginAs(Admin, AdminPassword) }

// LoginAs are the options of a client of one user.
func (c *Cluster) LoginAs(user, password string) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(c.Addrs()...)}
	if c.o.Security != Open {
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
	}
	if c.o.Security == TLS {
		text, err := os.ReadFile(c.CA())
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		opts = append(opts, kgo.DialTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}))
	}
	return opts, nil
}

// askWithin is how long a node that is frozen keeps a question.
const askWithin = 2 * time.Second

// admin calls fn with a client that may do anything.
func (c *Cluster) admin(fn func(*kgo.Client) error) error {
	opts, err := c.Login()
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts, kgo.DialTimeout(askWithin), kgo.RequestTimeoutOverhead(askWithin))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	return fn(cl)
}

// AddUser makes a user who may do nothing yet. It takes some 200 ms until every broker knows of it.
func (c *Cluster) AddUser(ctx context.Context, name, password string) error {
	return c.admin(func(cl *kgo.Client) error {
		answers, err := kadm.NewClient(cl).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{
			{User: name, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password},
		})
		for _, a := range answers {
			err = errors.Join(err, a.Err)
		}
		if err != nil {
			return fmt.Errorf("making user %s: %w", name, err)
		}
		return nil
	})
}

// InSync is true where every replica of every partition is in sync.
func (c *Cluster) InSync(ctx context.Context) (all bool, err error) {
	err = c.admin(func(cl *kgo.Client) error {
		topics, err := kadm.NewClient(cl).ListTopicsWithInternal(kadm.WithAuthorizedOps(ctx))
		if err != nil {
			return err
		}
		all = true
		topics.EachPartition(func(p kadm.PartitionDetail) {
			all = all && p.Err == nil && p.Leader >= 0 && len(p.ISR) == len(p.Replicas)
		})
		return nil
	})
	return all, err
}

// Leader is the broker that leads a partition; an error where none does.
func (c *Cluster) Leader(ctx context.Context, topic string, partition int32) (id int, err error) {
	err = c.admin(func(cl *kgo.Client) error {
		topics, err := kadm.NewClient(cl).ListTopics(kadm.WithAuthorizedOps(ctx), topic) // past the client's own memory
		if err != nil {
			return err
		}
		p, ok := topics[topic].Partitions[partition]
		if !ok || p.Err != nil || p.Leader < 0 {
			return fmt.Errorf("partition %d of %s has no leader: %w", partition, topic, p.Err)
		}
		id = int(p.Leader)
		return nil
	})
	return id, err
}

// Coordinator is the broker that coordinates a group; an error where none does yet.
func (c *Cluster) Coordinator(ctx context.Context, group string) (id int, err error) {
	err = c.admin(func(cl *kgo.Client) error {
		found := kadm.NewClient(cl).FindGroupCoordinators(ctx, group)[group]
		id = int(found.NodeID)
		return found.Err
	})
	return id, err
}

// Controller is the node that is the active controller.
func (c *Cluster) Controller(ctx context.Context) (id int, err error) {
	err = c.admin(func(cl *kgo.Client) error {
		req := kmsg.NewPtrDescribeQuorumRequest()
		metadata := kmsg.NewDescribeQuorumRequestTopic()
		metadata.Topic = "__cluster_metadata"
		metadata.Partitions = append(metadata.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
		req.Topics = append(req.Topics, metadata)
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		if len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 || resp.Topics[0].Partitions[0].LeaderID < 0 {
			return errors.New("the quorum has no leader")
		}
		id = int(resp.Topics[0].Partitions[0].LeaderID)
		return nil
	})
	return id, err
}
