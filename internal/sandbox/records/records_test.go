package records_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox/records"
)

func clock() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) }

func open(t *testing.T, path string) *records.Store {
	t.Helper()
	s, err := records.Open(path, clock)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func put(t *testing.T, s *records.Store, k records.Key, body map[string]any, state string) records.Record {
	t.Helper()
	r, err := s.Put(k, func(records.Record, time.Time) (records.Change, error) {
		return records.Change{Body: body, State: state}, nil
	})
	require.NoError(t, err)
	return r
}

func TestWhatWasStoredIsTheSameAfterEveryRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "state")
	k := records.Key{Account: "t/v/a", Kind: "sales", ID: "g"}
	s := open(t, path)
	put(t, s, k, map[string]any{"n": 1}, "new")
	put(t, s, k, map[string]any{"n": 2.50, "text": "a\u0001"}, "old")
	gone := records.Key{Account: "t/v/a", Kind: "sales", ID: "gone"}
	put(t, s, gone, map[string]any{}, "")
	was, err := s.Delete(gone)
	require.NoError(t, err)
	require.True(t, was)
	last := s.NewID()
	put(t, s, records.Key{Kind: "x", ID: "1"}, map[string]any{}, "")

	want := s.Now().List("t/v/a", "sales")
	for range 3 { // the first reads appended lines, the others what was written anew
		next := open(t, path)
		require.Equal(t, want, next.Now().List("t/v/a", "sales"))
		require.Equal(t, []string{"new", "old"}, next.Now().Get(k).Trail)
		require.Equal(t, "1", next.As(records.Stale(t.Context())).Get(k).Body["n"].(interface{ String() string }).String())
		require.True(t, next.Now().Get(gone).Gone)
		require.Greater(t, next.NewID(), last)
	}
}

func TestTimesRiseThoughTheClockStands(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	k := records.Key{Kind: "x", ID: "1"}
	one := put(t, s, k, map[string]any{}, "")
	two := put(t, s, k, map[string]any{}, "")
	require.Equal(t, time.Millisecond, two.Modified.Sub(one.Modified))
	require.Equal(t, one.Created, two.Created)
}

func TestRefusedChangesChangeNothing(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "state"))
	k := records.Key{Kind: "x", ID: "1"}
	no := errors.New("no")
	_, err := s.Put(k, func(records.Record, time.Time) (records.Change, error) { return records.Change{}, no })
	require.Equal(t, no, err)
	_, err = s.Put(k, func(records.Record, time.Time) (records.Change, error) {
		return records.Change{Body: map[string]any{"f": func() {}}}, nil
	})
	require.Error(t, err)
	require.Nil(t, s.Now().Get(k).Body)
	require.NoError(t, s.Close())
	_, err = s.Put(k, func(records.Record, time.Time) (records.Change, error) { return records.Change{}, nil })
	require.ErrorIs(t, err, records.ErrClosed)
}

func TestConcurrentChangesAreAllInTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				id := strconv.Itoa(i*50 + n)
				_, err := s.Put(records.Key{Kind: "x", ID: id}, func(records.Record, time.Time) (records.Change, error) {
					return records.Change{Body: map[string]any{"id": id}}, nil
				})
				if err != nil {
					t.Error(err)
				}
				_ = s.Now().List("", "x")
			}
		})
	}
	all.Wait()
	require.Len(t, open(t, path).Now().List("", "x"), 400)
}

func TestHalfALineAtTheEndIsDropped(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	put(t, open(t, path), records.Key{Kind: "x", ID: "1"}, map[string]any{}, "")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(text, text[:len(text)/2]...), 0o600))
	s := open(t, path)
	require.Len(t, s.Now().List("", "x"), 1)
	put(t, s, records.Key{Kind: "x", ID: "2"}, map[string]any{}, "")
	require.Len(t, open(t, path).Now().List("", "x"), 2)
}

func TestMergeLaysObjectsOverEachOther(t *testing.T) {
	t.Parallel()
	body := map[string]any{"a": map[string]any{"x": 1, "y": 2}, "b": []any{1}, "c": 1}
	got := records.Merge(body, map[string]any{"a": map[string]any{"y": nil}, "b": []any{2}, "d": map[string]any{}})
	require.Equal(t, map[string]any{"a": map[string]any{"x": 1, "y": nil}, "b": []any{2}, "c": 1, "d": map[string]any{}}, got)
	require.Equal(t, 2, body["a"].(map[string]any)["y"], "the arguments stay")
}

func FuzzStateFile(f *testing.F) {
	f.Add([]byte(`{"kind":"x","id":"1","body":{"a":1},"last_id":3}` + "\n"))
	f.Add([]byte("{}\n{}\n{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.WriteFile(path, text, 0o600))
		s, err := records.Open(path, clock)
		if err != nil {
			return
		}
		require.NoError(t, s.Close())
		again, err := records.Open(path, clock)
		require.NoError(t, err, "what was read can be read again")
		require.NoError(t, again.Close())
	})
}
