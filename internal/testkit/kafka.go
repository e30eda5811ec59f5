package testkit

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

// Kafka starts an embedded broker with the named topics (full names, with prefix) and ends it with
// the test. The cluster's own Fault and Control calls inject failures.
func Kafka(t testing.TB, partitions int32, topics ...string) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.SeedTopics(partitions, topics...),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "200"}),
	)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// Log returns a logger that writes to the test.
func Log(t testing.TB) *zap.Logger {
	return zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
}
