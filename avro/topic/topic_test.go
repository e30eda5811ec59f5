package topic

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
)

func TestEveryTypeTravelsOnExactlyOneKindOfTopic(t *testing.T) {
	t.Parallel()
	table := Table(PartitionsDefault, "skyslope")
	for _, typ := range event.Types() {
		n := 0
		for _, topic := range table {
			if slices.Contains(topic.Types, typ) {
				n++
			}
		}
		require.Equal(t, 1, n, typ)
	}
}

func TestTableHasTwoTopicsPerVendorAndFourOfMeaning(t *testing.T) {
	t.Parallel()
	require.Len(t, Table(PartitionsDefault), 4)
	table := Table(48, "skyslope", "docusign")
	require.Len(t, table, 8)
	seen := map[string]bool{}
	for _, topic := range table {
		require.False(t, seen[topic.Name])
		seen[topic.Name] = true
		require.Regexp(t, `^[a-z]+(\.[a-z]+)*\.v1$`, topic.Name)
		require.Equal(t, 48, topic.Partitions)
		require.NotEmpty(t, topic.Key)
		require.NotEmpty(t, topic.Types)
	}
}

func TestSnapshotsAreKeptForEverAndNeverCompacted(t *testing.T) {
	t.Parallel()
	for _, topic := range Table(PartitionsDefault, "skyslope") {
		if topic.Name == Snapshots("skyslope") {
			require.False(t, topic.Compact)
			require.Equal(t, Forever, topic.Retention)
			require.Equal(t, SnapshotBytesMax, topic.BytesMax)
			continue
		}
		require.Equal(t, MessageBytesMax, topic.BytesMax)
		require.Equal(t, topic.Compact, topic.Name == Golden || topic.Name == Links, topic.Name)
	}
}
