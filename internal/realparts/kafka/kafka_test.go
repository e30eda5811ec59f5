package kafka_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/realparts/kafka"
	"conveyance/internal/testkit"
	"conveyance/internal/testkit/realkit"
)

func client(t *testing.T, c *kafka.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	login, err := c.Login()
	require.NoError(t, err)
	cl, err := kgo.NewClient(append(login, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// roundTrip makes a topic, writes a record, ends the node in the given way, starts it, and reads the record.
func roundTrip(t *testing.T, c *kafka.Cluster, end func(int) error) {
	t.Helper()
	cl := client(t, c, kgo.ConsumeTopics("deals"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	_, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, -1, nil, "deals")
	require.NoError(t, err)
	require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "deals", Value: []byte("v")}).FirstErr())
	leader, err := c.Leader(t.Context(), "deals", 0)
	require.NoError(t, err)
	require.NoError(t, end(leader))
	require.NoError(t, c.StartNode(t.Context(), leader))
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	for { // a broken connection is an error of a poll, and mends itself
		fetches := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err())
		if records := fetches.Records(); len(records) > 0 {
			require.Equal(t, "v", string(records[0].Value))
			return
		}
	}
}

func TestOneNodeKeepsWhatItAcknowledgedOverKillAndStop(t *testing.T) {
	t.Parallel()
	c := realkit.Kafka(t, kafka.Options{})
	roundTrip(t, c, c.Kill)
	require.NoError(t, c.Stop())
}

func TestThreeNodesTellLeaderControllerAndCoordinator(t *testing.T) {
	t.Parallel()
	c := realkit.Kafka(t, kafka.Options{Layout: kafka.Three, Set: kafka.FastFailover()})
	cl := client(t, c)
	_, err := kadm.NewClient(cl).CreateTopic(t.Context(), 3, -1, nil, "deals")
	require.NoError(t, err)
	for _, ask := range []func() (int, error){
		func() (int, error) { return c.Leader(t.Context(), "deals", 0) },
		func() (int, error) { return c.Controller(t.Context()) },
		func() (int, error) { return c.Coordinator(t.Context(), "group") },
	} {
		require.Eventually(t, func() bool {
			id, err := ask()
			return err == nil && slices.Contains(c.Nodes(), id)
		}, testkit.Patience, 100*time.Millisecond, "the first group makes the coordinators' topic")
	}
	leader, err := c.Leader(t.Context(), "deals", 0)
	require.NoError(t, err)
	require.NoError(t, c.Pause(leader))
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		now, err := c.Leader(ctx, "deals", 0)
		return err == nil && now != leader
	}, testkit.Patience, 100*time.Millisecond, "a frozen leader is replaced")
	require.NoError(t, c.Resume(leader))
}

func TestSecureClusterLetsNobodyInWithoutPasswordAndCertificate(t *testing.T) {
	t.Parallel()
	for name, security := range map[string]kafka.Security{"SCRAM": kafka.SCRAM, "TLS": kafka.TLS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := realkit.Kafka(t, kafka.Options{Security: security, Doors: []kafka.Door{{Name: "OTHER", Host: "elsewhere.example"}}})
			require.NoError(t, client(t, c).Ping(t.Context()))
			bare, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...))
			require.NoError(t, err)
			defer bare.Close()
			require.Error(t, bare.Ping(t.Context()))
			require.NoError(t, c.AddUser(t.Context(), "app", "app-secret"))
		})
	}
}
