package bench

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"conveyance/avro/topic"
)

func TestTheCeilingOfTranslateEmitsAsManyEvents(t *testing.T) {
	t.Parallel()
	l, err := open(t.Context(), Options{Records: 600, Rounds: 1, Dir: t.TempDir(), Notes: io.Discard}, benchmark{name: "translate"})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.close()) }()
	_, _, err = translateBench(t.Context(), l)
	require.NoError(t, err)
	cl, err := l.client()
	require.NoError(t, err)
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic.Deals, topic.Contacts, bareDeals, bareContacts)
	require.NoError(t, err)
	count := map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) { count[o.Topic] += o.Offset })
	require.Equal(t, count[topic.Deals], count[bareDeals])
	require.Equal(t, count[topic.Contacts], count[bareContacts])
	require.Positive(t, count[topic.Contacts])
}
