package topics_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/realparts/kafka"
	"conveyance/internal/testkit"
	"conveyance/internal/testkit/realkit"
	"conveyance/internal/topics"
)

func told(rights []topics.Right) (all []string) {
	for _, r := range rights {
		all = append(all, r.String())
	}
	return all
}

func TestRightsAreTheLeastOfWhatAProcessDoes(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{
		"User:a READ on group p.fetch",
		"User:a READ on topic p.in",
		"User:a WRITE on topic p.out",
		"User:o READ on topic p.in",
		"User:o CREATE on topic p.in", "User:o ALTER_CONFIGS on topic p.in",
		"User:o CREATE on topic p.rest", "User:o ALTER_CONFIGS on topic p.rest",
		"User:o DESCRIBE on topic p.rest", // who reads a topic sees it anyway
	}, told(topics.Rights("p.", []topics.Process{
		{Name: "fetch", Principal: "User:a", Group: "fetch", Reads: []string{"in"}, Writes: []string{"out"}},
		{Name: "operator", Principal: "User:o", Reads: []string{"in"}, Makes: []string{"in", "rest"}},
	})))
}

func TestRealClusterSaysWhichRightsAUserLacks(t *testing.T) {
	t.Parallel()
	k := realkit.Kafka(t, kafka.Options{Security: kafka.SCRAM})
	client := func(user, password string) *kgo.Client {
		opts, err := k.LoginAs(user, password)
		require.NoError(t, err)
		cl, err := kgo.NewClient(opts...)
		require.NoError(t, err)
		t.Cleanup(cl.Close)
		return cl
	}
	adm := kadm.NewClient(client(kafka.Admin, kafka.AdminPassword))
	_, err := adm.CreateTopics(t.Context(), 1, 1, nil, "p.in", "p.out")
	require.NoError(t, err)
	require.NoError(t, k.AddUser(t.Context(), "app", "app-secret"))
	rights := topics.Rights("p.", []topics.Process{
		{Name: "fetch", Principal: "User:app", Group: "fetch", Reads: []string{"in"}, Writes: []string{"out"}},
	})
	cl := client("app", "app-secret")
	lacks := func(want ...topics.Right) {
		t.Helper()
		require.Eventually(t, func() bool { // users and rights reach the broker in a moment; coordinators are made first
			found, err := topics.Lacking(t.Context(), cl, rights)
			return err == nil && slices.Equal(found, want)
		}, testkit.Patience, 100*time.Millisecond)
	}
	lacks(rights...)
	require.NoError(t, topics.Grant(t.Context(), adm, rights))
	require.NoError(t, topics.Grant(t.Context(), adm, rights), "twice is once")
	granted, err := topics.Granted(t.Context(), adm, rights)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true, true}, granted)
	lacks()
	require.NoError(t, topics.Withdraw(t.Context(), adm, rights[:1]))
	lacks(rights[0])
}
