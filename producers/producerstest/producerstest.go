// Package producerstest is the suite that every vendor's folder must pass: what the stages rely on
// in a mapper, a fetcher and a poller, whatever the vendor. A vendor's test serves a simulated vendor
// and calls Run. Golden files are written anew by go test -update.
package producerstest

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

var update = flag.Bool("update", false, "write golden files anew")

// KeptBytesMax is how much a vendor's folder may keep of a record of testdata: what fetch keeps of one
// is bounded, and these are small.
const KeptBytesMax = 4 << 10

// Leaf is what a vendor's test hands to the suite.
type Leaf struct {
	Vendor producers.Vendor
	// Testdata is a folder of cases. A case is a folder with one file per part, named as the part
	// (sale.json), and the golden facts.json, or error.txt where the snapshot breaks its contract. The
	// folder deliveries holds bodies of webhooks, each with what Hints says of it.
	Testdata string
	// Account reaches a vendor that the test serves. Known is a record there, Gone answers 404.
	Account     tenant.Account
	Known, Gone event.Resource
	// Sign returns the headers with which the vendor delivers a body that it signs with each of keys.
	// Nil where it has no webhooks.
	Sign func(body []byte, keys ...[]byte) http.Header
	// Change changes Known there, so that its version rises.
	Change func(t *testing.T)
}

// Run runs what applies to the vendor.
func Run(t *testing.T, leaf Leaf) {
	t.Helper()
	t.Run("account schema compiles", func(t *testing.T) { accountSchema(t, leaf) })
	t.Run("every snapshot maps as recorded, and purely", func(t *testing.T) { mapper(t, leaf) })
	if leaf.Vendor.Webhook != nil {
		webhook(t, leaf)
	}
	if leaf.Vendor.Fetcher != nil {
		t.Run("a 404 is a tombstone", func(t *testing.T) { tombstone(t, leaf) })
		t.Run("a fetch is whole and maps", func(t *testing.T) { fetcher(t, leaf) })
	}
	if leaf.Vendor.Poller != nil {
		t.Run("a poll resumes from its cursor", func(t *testing.T) { poller(t, leaf) })
	}
}

func accountSchema(t *testing.T, leaf Leaf) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(leaf.Vendor.AccountSchema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("account.json", doc))
	s, err := c.Compile("account.json")
	require.NoError(t, err)
	require.Error(t, s.Validate(map[string]any{}), "an account needs a credential")
}

func mapper(t *testing.T, leaf Leaf) {
	cases, err := filepath.Glob(filepath.Join(leaf.Testdata, "*", ""))
	require.NoError(t, err)
	ran := 0
	for _, dir := range cases {
		name := filepath.Base(dir)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || name == "fuzz" || name == deliveries {
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) {
			snap := Snapshot(t, leaf.Vendor, dir)
			before := text(t, snap)
			facts, err := leaf.Vendor.Mapper.Map(snap)
			file, got := "facts.json", text(t, facts)
			if err != nil {
				file, got = "error.txt", err.Error()+"\n"
			}
			golden(t, filepath.Join(dir, file), got)
			if c := leaf.Vendor.Completer; c != nil {
				kept := c.Keep(snap)
				require.LessOrEqual(t, len(kept), KeptBytesMax)
				require.Equal(t, kept, c.Keep(snap))
			}
			require.Equal(t, before, text(t, snap), "Map changed its input")
			synctest.Test(t, func(t *testing.T) { // here it is the year 2000
				again, err2 := leaf.Vendor.Mapper.Map(snap)
				require.Equal(t, err, err2)
				require.Equal(t, facts, again)
			})
		})
	}
	require.NotZero(t, ran, "no cases in %s", leaf.Testdata)
}

// Snapshot reads a case of testdata: its parts in the order of their names, the main one first.
func Snapshot(t testing.TB, v producers.Vendor, dir string) event.VendorSnapshot {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	snap := event.VendorSnapshot{
		Resource: event.Resource{Tenant: "lakeshore", Vendor: v.Name, Account: "main", Kind: v.Kinds[0], ID: filepath.Base(dir)},
		Version:  1, Token: 1, ReadAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Lane: "live",
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		if name == "facts" {
			continue
		}
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		snap.Parts = append(snap.Parts, event.Part{Name: name, Status: 200, FetchedAt: snap.ReadAt, Body: body})
	}
	slices.SortFunc(snap.Parts, func(a, b event.Part) int {
		if (a.Name == v.Kinds[0]) != (b.Name == v.Kinds[0]) {
			return strings.Compare(b.Name, a.Name)
		}
		return strings.Compare(a.Name, b.Name)
	})
	snap.Digest = producers.Digest(snap.Parts)
	return snap
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		for _, other := range []string{"facts.json", "error.txt"} {
			if err := os.Remove(filepath.Join(filepath.Dir(path), other)); !os.IsNotExist(err) {
				require.NoError(t, err)
			}
		}
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644)) //nolint:gosec // G306: a file of the repository
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "no golden file: run go test -update and read what it wrote")
	require.Equal(t, string(want), got, path)
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	require.NoError(t, err)
	return string(b) + "\n"
}

func tombstone(t *testing.T, leaf Leaf) {
	snap, err := leaf.Vendor.Fetcher.Fetch(t.Context(), leaf.Account, leaf.Gone)
	require.NoError(t, err, "a record that is gone is no error")
	require.True(t, snap.Gone)
	require.Empty(t, snap.Parts)
	require.Equal(t, leaf.Gone, snap.Resource)
	require.WithinDuration(t, time.Now(), snap.ReadAt, time.Hour)
	facts, err := leaf.Vendor.Mapper.Map(snap)
	require.NoError(t, err)
	require.Equal(t, producers.Facts{}, facts)
}

func fetcher(t *testing.T, leaf Leaf) {
	snap := fetch(t, leaf)
	require.False(t, snap.Gone)
	require.Equal(t, leaf.Known, snap.Resource)
	require.NotEmpty(t, snap.Parts)
	require.Len(t, snap.Digest, 64)
	require.Positive(t, snap.Version)
	require.Equal(t, snap.ReadAt.Truncate(time.Millisecond), snap.ReadAt)
	_, err := leaf.Vendor.Mapper.Map(snap)
	require.NoError(t, err)
	require.Equal(t, snap.Digest, fetch(t, leaf).Digest, "nothing changed between two fetches")
}

func fetch(t *testing.T, leaf Leaf) event.VendorSnapshot {
	t.Helper()
	snap, err := leaf.Vendor.Fetcher.Fetch(t.Context(), leaf.Account, leaf.Known)
	require.NoError(t, err)
	return snap
}

func poller(t *testing.T, leaf Leaf) {
	first, start := poll(t, leaf, nil)
	i := slices.IndexFunc(first, func(c producers.Change) bool { return c.Resource == leaf.Known })
	require.GreaterOrEqual(t, i, 0, "the first poll yields what is there")
	byVersion := func(a, b producers.Change) int { return int(a.Version - b.Version) }
	require.True(t, slices.IsSortedFunc(first, byVersion), "oldest first")
	if fact := first[i].Fact; fact != nil {
		require.Equal(t, fetch(t, leaf).Digest, fact.Digest, "a poll and a fetch see one record alike")
		require.Equal(t, first[i].Version, fact.Version)
		_, err := leaf.Vendor.Mapper.Map(*fact)
		require.NoError(t, err)
	}
	quiet, start := poll(t, leaf, start)
	require.Empty(t, quiet, "nothing changed since the cursor")

	leaf.Change(t)
	changed, next := poll(t, leaf, start)
	require.Len(t, changed, 1)
	require.Equal(t, leaf.Known, changed[0].Resource)
	require.Greater(t, changed[0].Version, first[i].Version)
	again, _ := poll(t, leaf, start)
	require.Len(t, again, 1, "a cursor that was not stored yields the change again")
	quiet, _ = poll(t, leaf, next)
	require.Empty(t, quiet)

	refused := os.ErrDeadlineExceeded
	cursor, err := leaf.Vendor.Poller.Poll(t.Context(), leaf.Account, start, func(producers.Change) error { return refused })
	require.ErrorIs(t, err, refused, "what was refused stops the poll")
	require.Nil(t, cursor)
}

func poll(t *testing.T, leaf Leaf, since producers.Cursor) ([]producers.Change, producers.Cursor) {
	t.Helper()
	var changes []producers.Change
	cursor, err := leaf.Vendor.Poller.Poll(t.Context(), leaf.Account, since, func(c producers.Change) error {
		changes = append(changes, c)
		return nil
	})
	require.NoError(t, err)
	require.True(t, json.Valid(cursor), "a cursor is JSON")
	return changes, cursor
}
