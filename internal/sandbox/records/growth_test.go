package records

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFileThatOutgrowsItsRecordsIsWrittenAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	s, err := Open(path, time.Now)
	require.NoError(t, err)
	s.full = 2000
	put := func(n int) {
		_, err := s.Put(Key{Kind: "x", ID: "1"}, func(Record, time.Time) (Change, error) {
			return Change{Body: map[string]any{"n": n}}, nil
		})
		require.NoError(t, err)
	}
	for n := range 100 {
		put(n)
		if s.full > 2000 {
			break
		}
	}
	require.EqualValues(t, growthMin, s.full, "it was written anew")
	put(1000)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(1000))
	require.NoError(t, s.Close())
	again, err := Open(path, time.Now)
	require.NoError(t, err)
	require.Equal(t, s.Now().Get(Key{Kind: "x", ID: "1"}), again.Now().Get(Key{Kind: "x", ID: "1"}))
	require.NoError(t, again.Close())
}
