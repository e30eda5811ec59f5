package topics_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"conveyance/avro/topic"
	"conveyance/internal/testkit"
	"conveyance/internal/topics"
)

const prefix = "conveyance."

func admin(t testing.TB, c *kfake.Cluster) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func want(partitions int) topics.Want {
	return topics.Want{Prefix: prefix, Table: topic.Table(partitions, "skyslope"), Replication: 1}
}

func TestApplyMakesTheTableAndASecondTimeNothing(t *testing.T) {
	t.Parallel()
	adm := admin(t, testkit.Kafka(t, 1, "somebody.elses"))
	before, err := topics.Verify(t.Context(), adm, want(3))
	require.NoError(t, err)
	require.Len(t, before, len(want(3).Table), "each is missing")

	changes, err := topics.Apply(t.Context(), adm, want(3))
	require.NoError(t, err)
	require.Len(t, changes, len(want(3).Table))
	for i, c := range changes {
		require.Equal(t, topics.Change{Topic: prefix + want(3).Table[i].Name, Action: "created"}, c)
	}
	after, err := topics.Verify(t.Context(), adm, want(3))
	require.NoError(t, err)
	require.Empty(t, after)
	changes, err = topics.Apply(t.Context(), adm, want(3))
	require.NoError(t, err)
	for _, c := range changes {
		require.Equal(t, "unchanged", c.Action, c.Topic)
	}

	list, err := topics.List(t.Context(), adm, prefix)
	require.NoError(t, err)
	require.Len(t, list, len(want(3).Table), "and not somebody else's")
	byName := map[string]topics.Info{}
	for _, info := range list {
		require.Equal(t, 3, info.Partitions)
		byName[strings.TrimPrefix(info.Topic, prefix)] = info
	}
	day := 24 * time.Hour.Milliseconds()
	require.Equal(t, 14*day, byName["webhooks.skyslope.v1"].Retention)
	require.Equal(t, 400*day, byName["deals.v1"].Retention)
	require.EqualValues(t, -1, byName["snapshots.skyslope.v1"].Retention)
	require.EqualValues(t, 4<<20, byName["snapshots.skyslope.v1"].BytesMax)
	require.Equal(t, "delete", byName["snapshots.skyslope.v1"].Cleanup)
	require.Equal(t, "compact", byName["links.v1"].Cleanup)
}

func TestApplyConfiguresWhatDiffersAndSaysHow(t *testing.T) {
	t.Parallel()
	adm := admin(t, testkit.Kafka(t, 1))
	_, err := topics.Apply(t.Context(), adm, want(2))
	require.NoError(t, err)
	_, err = adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("3600000")},
		{Op: kadm.SetConfig, Name: "cleanup.policy", Value: kadm.StringPtr("compact")},
	}, prefix+"snapshots.skyslope.v1")
	require.NoError(t, err)

	found, err := topics.Verify(t.Context(), adm, want(2))
	require.NoError(t, err)
	require.Equal(t, []topics.Difference{
		{Topic: prefix + "snapshots.skyslope.v1", What: "cleanup.policy", Want: "delete", Have: "compact", Remedy: "run conveyance topics apply"},
		{Topic: prefix + "snapshots.skyslope.v1", What: "retention.ms", Want: "-1", Have: "3600000", Remedy: "run conveyance topics apply"},
	}, found)
	changes, err := topics.Apply(t.Context(), adm, want(2))
	require.NoError(t, err)
	for _, c := range changes {
		if c.Topic == prefix+"snapshots.skyslope.v1" {
			require.Equal(t, "configured", c.Action)
			require.Equal(t, "cleanup.policy compact → delete, retention.ms 3600000 → -1", c.Detail)
		} else {
			require.Equal(t, "unchanged", c.Action)
		}
	}
	found, err = topics.Verify(t.Context(), adm, want(2))
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestPartitionCountIsNeverAltered(t *testing.T) {
	t.Parallel()
	adm := admin(t, testkit.Kafka(t, 6, prefix+"deals.v1"))
	changes, err := topics.Apply(t.Context(), adm, want(12))
	require.ErrorContains(t, err, "topic conveyance.deals.v1: partitions is 6, not 12: never alter the count")
	require.ErrorContains(t, err, "deals.v2")
	require.Len(t, changes, len(want(12).Table), "the others are made all the same")
	found, err := topics.Verify(t.Context(), adm, want(12))
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, []string{"partitions", "12", "6"}, []string{found[0].What, found[0].Want, found[0].Have})
	list, err := topics.List(t.Context(), adm, prefix+"deals")
	require.NoError(t, err)
	require.Equal(t, 6, list[0].Partitions)
}

func TestReplicationIsComparedAndThreeCopiesNeedTwoInSync(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	adm := admin(t, c)
	three := want(2)
	three.Replication = 3
	_, err = topics.Apply(t.Context(), adm, three)
	require.NoError(t, err)
	found, err := topics.Verify(t.Context(), adm, three)
	require.NoError(t, err)
	require.Empty(t, found)
	configs, err := adm.DescribeTopicConfigs(t.Context(), prefix+"deals.v1")
	require.NoError(t, err)
	for _, e := range configs[0].Configs {
		if e.Key == "min.insync.replicas" {
			require.Equal(t, "2", e.MaybeValue())
		}
	}
	found, err = topics.Verify(t.Context(), adm, want(2))
	require.NoError(t, err)
	require.Len(t, found, len(three.Table))
	require.Equal(t, []string{"replication", "1", "3"}, []string{found[0].What, found[0].Want, found[0].Have})
}

func TestTopicsOfOneCopyAreNeverAskedForTwoInSync(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	adm := admin(t, c)
	_, err = topics.Apply(t.Context(), adm, want(2))
	require.NoError(t, err)
	three := want(2)
	three.Replication = 3
	changes, err := topics.Apply(t.Context(), adm, three)
	require.ErrorContains(t, err, "replication is 1, not 3")
	for _, ch := range changes {
		require.Equal(t, "unchanged", ch.Action, "%v", ch)
	}
}

func TestListCountsRecordsAndBytes(t *testing.T) {
	t.Parallel()
	c := testkit.Kafka(t, 3, prefix+"deals.v1")
	adm := admin(t, c)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(prefix+"deals.v1"))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	for range 10 {
		require.NoError(t, cl.ProduceSync(t.Context(), kgo.StringRecord("deal")).FirstErr())
	}
	list, err := topics.List(t.Context(), adm, prefix)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.EqualValues(t, 10, list[0].Records)
	require.NotNil(t, list[0].Bytes)
	require.Positive(t, *list[0].Bytes)

	c.ControlKey(int16(kmsg.DescribeLogDirs), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := kmsg.NewPtrDescribeLogDirsResponse()
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil, true
	})
	list, err = topics.List(t.Context(), adm, prefix)
	require.NoError(t, err)
	text, err := json.Marshal(list[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"topic":"conveyance.deals.v1","partitions":3,"replication":1,"records":10,"bytes":null,
		"retention_ms":604800000,"cleanup":"delete","bytes_max":1048588}`, string(text))
}

func TestNothingToListIsAnEmptyList(t *testing.T) {
	t.Parallel()
	adm := admin(t, testkit.Kafka(t, 1, "somebody.elses"))
	list, err := topics.List(t.Context(), adm, prefix)
	require.NoError(t, err)
	require.Equal(t, []topics.Info{}, list)
	found, err := topics.Verify(t.Context(), adm, topics.Want{Prefix: prefix})
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestRefusalOfTheClusterIsNamedWithItsTopic(t *testing.T) {
	t.Parallel()
	c := testkit.Kafka(t, 1)
	adm := admin(t, c)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: prefix + "deals.v1", Err: kerr.TopicAuthorizationFailed})
	changes, err := topics.Apply(t.Context(), adm, want(1))
	require.ErrorContains(t, err, "creating topic conveyance.deals.v1: TOPIC_AUTHORIZATION_FAILED")
	require.Len(t, changes, 2, "what was done before is told")
}

func TestTopicMadeByAnotherMeanwhileIsNoError(t *testing.T) {
	t.Parallel()
	c := testkit.Kafka(t, 1)
	adm := admin(t, c)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: prefix + "deals.v1", Err: kerr.TopicAlreadyExists})
	_, err := topics.Apply(t.Context(), adm, want(1))
	require.NoError(t, err)
}
