package sandbox_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
	"conveyance/internal/sandbox/truth"
)

// truths is the sandbox's truth, decoded.
func (w *world) truths() truth.Truth {
	w.t.Helper()
	var out truth.Truth
	require.NoError(w.t, json.Unmarshal(w.control(200, "GET", "/truth", nil).body, &out))
	return out
}

func TestSameSeedTellsTheSameStory(t *testing.T) {
	t.Parallel()
	tell := func(seed int64) truth.Truth {
		w := open(t, nil)
		require.NoError(t, w.box.Story(t.Context(), sandbox.StoryOptions{Seed: seed, Deals: 40, PerSecond: 500}))
		return w.truths()
	}
	one, again, other := tell(7), tell(7), tell(8)
	require.Equal(t, one, again)
	require.NotEqual(t, one, other)
	deals := 0
	for _, tenant := range one.Tenants {
		deals += len(tenant.Deals)
		require.NotEmpty(t, tenant.People)
	}
	require.Equal(t, 40, deals)
}

func TestStoryIsToldByControlAndOnlyOnce(t *testing.T) {
	t.Parallel()
	w := open(t, func(o *sandbox.Options) { o.Seed = 5 })
	began := w.control(202, "POST", "/story", map[string]any{"deals": 6, "per_second": 500}).object(t)
	require.InDelta(t, 5, began["seed"], 0)
	require.Equal(t, true, began["running"])
	progress := func() map[string]any {
		all := w.control(200, "GET", "/story", nil).list(t)
		require.Len(t, all, 1)
		return all[0]
	}
	require.Eventually(t, func() bool { return progress()["running"] == false }, patience, look)
	require.Equal(t, progress()["steps"], progress()["done"])
	before := w.control(200, "GET", "/skyslope/sales?tenant=lakeshore", nil).list(t)
	w.control(202, "POST", "/story", map[string]any{"seed": 5, "deals": 6, "per_second": 500})
	require.Eventually(t, func() bool { return progress()["running"] == false }, patience, look)
	require.Equal(t, before, w.control(200, "GET", "/skyslope/sales?tenant=lakeshore", nil).list(t), "no file is touched again")

	w.control(202, "POST", "/story", map[string]any{"seed": 9, "deals": 500, "per_second": 0.01})
	w.control(409, "POST", "/story", map[string]any{"seed": 9, "deals": 500})
	for _, bad := range []any{map[string]any{}, map[string]any{"deals": 1 << 30}, map[string]any{"deals": 1, "per_second": -1}, "{"} {
		w.control(400, "POST", "/story", bad)
	}
}

func TestStoryAndStateGoOnAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "new", "state.jsonl")
	state := func(o *sandbox.Options) { o.StateFile = file }
	story := sandbox.StoryOptions{Seed: 3, Deals: 20, PerSecond: 500}

	first := open(t, state)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan error, 1)
	go func() { told <- first.box.Story(ctx, story) }()
	require.Eventually(t, func() bool {
		return len(first.control(200, "GET", "/skyslope/sales?tenant=lakeshore", nil).list(t)) > 3
	}, patience, look)
	cancel()
	require.ErrorIs(t, <-told, context.Canceled)
	session := first.login("lakeshore")
	p := first.create("lakeshore", "/people", person("Mira", "mira@example.com", ""))
	asked := first.control(200, "GET", "/followupboss/requests", nil).list(t)
	before := first.truths()

	// A process that is killed closes nothing, and may leave half a line.
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	file = filepath.Join(dir, "after.jsonl")
	require.NoError(t, os.WriteFile(file, append(text, `{"account":"lakeshore/sky`...), 0o600))
	second := open(t, state)
	require.Equal(t, before, second.truths())
	require.Equal(t, p, second.want(200, "GET", people+"/"+id(p), nil, crm("lakeshore")).object(t))
	require.Greater(t, second.create("lakeshore", "/people", person("Otis", "", ""))["id"], p["id"])
	second.want(200, "GET", "/skyslope/api/offices", nil, session)
	require.Len(t, second.users("lakeshore"), 7, "what was there is not made again")
	require.Greater(t, second.control(200, "GET", "/followupboss/requests", nil).list(t)[0]["n"], asked[len(asked)-1]["n"])

	require.NoError(t, second.box.Story(t.Context(), story))
	whole := open(t, nil)
	require.NoError(t, whole.box.Story(t.Context(), story))
	require.Equal(t, whole.truths(), second.truths())
}

func TestClosingEndsStoriesAndChanges(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.control(202, "POST", "/story", map[string]any{"seed": 1, "deals": 1000, "per_second": 500})
	require.NoError(t, w.box.Close())
	w.want(503, "PUT", "/_control/skyslope/sales/g?tenant=lakeshore", map[string]any{}, nil)
	require.Error(t, w.box.Story(t.Context(), sandbox.StoryOptions{Seed: 2, Deals: 1}))
}

func TestBrokenStateFileIsSaidNotGuessed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state.jsonl")
	require.NoError(t, os.WriteFile(file, []byte("{}\nnonsense\n"), 0o600))
	_, err := sandbox.New(sandbox.Options{Tenants: tenants(), StateFile: file})
	require.ErrorContains(t, err, "line 2")
}
