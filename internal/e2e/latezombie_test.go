package e2e

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/postgres"
)

// A zombie whose claim was under way when it froze takes the epoch of an owner that lives, and does
// nothing with it.
func TestLiveOwnerWhoseEpochALateZombieTookRecoversByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	b := start(t)
	ctx := t.Context()
	s := b.sale(ctx, "lakeshore", 1)
	b.await("the deal in the CRM", func() bool { return b.known(ctx, s) })
	owners := map[string]int{}
	for _, name := range chaos.Owners() {
		owners[name] = b.Children()[name]
	}
	taken := map[uuid.UUID]bool{}
	for _, group := range chaos.Groups() {
		require.NoError(t, b.LateClaim(ctx, group))
		for _, token := range b.tokens(t, group) {
			taken[token] = true
		}
	}
	b.put(ctx, s, `{"status":"Pending"}`)
	b.await("the deal's stage", func() bool { return b.stage(ctx, s) == "Under Contract" })
	b.await("an owner that lives in every partition", func() bool {
		for _, group := range chaos.Groups() {
			for _, token := range b.tokens(t, group) {
				if taken[token] {
					return false
				}
			}
		}
		return true
	})
	for name, pid := range owners {
		require.Equal(t, pid, b.Children()[name], "%s recovered by itself, not by being started again", name)
	}
	b.settled(ctx)
}

// tokens are the owners of a group's partitions.
func (b *bus) tokens(t *testing.T, group string) (all []uuid.UUID) {
	t.Helper()
	rows, err := b.Pool.Query(t.Context(), postgres.In(group, "SELECT owner::text FROM {schema}.consumer_offsets"))
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var token string
		require.NoError(t, rows.Scan(&token))
		all = append(all, uuid.MustParse(token))
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, all)
	return all
}
