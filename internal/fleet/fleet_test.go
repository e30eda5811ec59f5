package fleet_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/fleet"
	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
)

func open(t *testing.T) *fleet.Fleet {
	pool, schema := testkit.Schema(t)
	m := postgres.Migrations{Schema: schema, Set: "fleet", Files: fleet.Migrations()}
	require.NoError(t, m.Apply(t.Context(), testkit.PostgresURL(t)))
	return fleet.New(pool, schema)
}

func TestProcessIsListedWhileItBeatsAndGoneAfterwards(t *testing.T) {
	t.Parallel()
	f := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Beat(ctx, fleet.Self("fetch", "127.0.0.1:1", "test"), testkit.Log(t))
	}()
	require.Eventually(t, func() bool {
		ps, err := f.Processes(t.Context())
		return err == nil && len(ps) == 1 && ps[0].Alive && ps[0].Name == "fetch"
	}, testkit.Patience, testkit.Look)
	cancel()
	<-done
	ps, err := f.Processes(t.Context())
	require.NoError(t, err)
	require.Empty(t, ps)
}

func TestGroupJoinsOnceAndStays(t *testing.T) {
	t.Parallel()
	f := open(t)
	g := fleet.Group{Name: "warehouse", Schema: "warehouse", Topics: []string{"deals.v1"}}
	require.NoError(t, f.Join(t.Context(), g))
	g.Topics = append(g.Topics, "contacts.v1")
	require.NoError(t, f.Join(t.Context(), g))
	groups, err := f.Groups(t.Context())
	require.NoError(t, err)
	require.Equal(t, []fleet.Group{g}, groups)
}
