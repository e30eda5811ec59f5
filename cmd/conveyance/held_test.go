package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/fleet"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/testkit"
	"conveyance/processors/fetch"
)

func TestWhatFetchItselfWaitsWithIsReleasedNeverDropped(t *testing.T) {
	t.Parallel()
	url := testkit.Database(t)
	must(t, "migrate", "--postgres", url)
	pool, err := postgres.Open(t.Context(), url, "test")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	const key = "lakeshore/skyslope/main/sale/s1"
	_, err = pool.Exec(t.Context(), `
INSERT INTO "fetch".resource (key, tenant, vendor, account, kind, id, dirty_since, cause)
VALUES ($1, 'lakeshore', 'skyslope', 'main', 'sale', 's1', now(), 'answer refused')`, key)
	require.NoError(t, err)
	refuses := func(key, want string) {
		for _, verb := range [][]string{{"drop"}, {"settle", "--outcome", "again"}} {
			args := append(append([]string{"held"}, verb...), key, "--adapter", "fetch", "--reason", "none", "--postgres", url)
			require.Contains(t, refused(t, args...), want)
		}
	}
	all := func() {
		refuses(key, "fetch itself waits with "+key+": its rows are released, never dropped: conveyance held release --adapter fetch --key "+key)
		refuses("lakeshore/skyslope/main/…", "conveyance held release --adapter fetch --tenant lakeshore")
		refuses("lakeshore/skyslope/main/sale/s2", "no such key in the queue: lakeshore/skyslope/main/sale/s2")
	}
	all()
	// With webhooks fetch is a group with a queue, too: its own rows are in no queue even then.
	require.NoError(t, fleet.New(pool, tenant.Schema).Join(t.Context(), fleet.Group{Name: fetch.Schema, Schema: fetch.Schema, Topics: []string{}}))
	all()
	require.Contains(t, must(t, "held", "release", "--adapter", "fetch", "--key", key, "--postgres", url), "1 keys")
}
