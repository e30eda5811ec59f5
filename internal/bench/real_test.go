package bench_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/bench"
	"conveyance/internal/realparts/kafka"
	"conveyance/internal/testkit/realkit"
)

func TestBenchmarksRunOnARealClusterAndLeaveNothingThere(t *testing.T) {
	t.Parallel()
	k := realkit.Kafka(t, kafka.Options{JVM: kafka.JVMFast(), HeapMB: 512})
	var names []string
	require.NoError(t, bench.Run(t.Context(), bench.Options{
		Names: []string{"scan", "project", "ingest-fsync"}, Records: 2000, Rounds: 1, Dir: t.TempDir(), Kafka: k.Addrs()[0],
		Report: func(r bench.Result) error {
			names = append(names, r.Name)
			require.Positive(t, r.Ours)
			return nil
		},
	}))
	require.Equal(t, []string{"scan", "project"}, names, "the embedded broker's own is left out")
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addrs()...))
	require.NoError(t, err)
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(t.Context())
	require.NoError(t, err)
	require.Empty(t, topics.Names())
}
