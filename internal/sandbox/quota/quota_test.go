package quota

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestNoWindowEverHoldsMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := Window{Limit: rapid.IntRange(1, 5).Draw(t, "limit"), Span: 10 * time.Second}
		now := time.Unix(0, 0)
		var taken []time.Time
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
			inside := 0
			for _, at := range taken {
				if now.Sub(at) < w.Span {
					inside++
				}
			}
			left := w.Take(now)
			require.Equal(t, inside < w.Limit, left.OK)
			if left.OK {
				taken = append(taken, now)
				require.Equal(t, w.Limit-inside-1, left.Remaining)
				require.Equal(t, inside+1, w.Used(now))
				continue
			}
			require.Positive(t, left.After)
			now = now.Add(left.After)
			require.True(t, w.Take(now).OK, "after the wait there is room")
			taken = append(taken, now)
		}
	})
}

func TestWindowsAreKeptByName(t *testing.T) {
	t.Parallel()
	var w Windows
	now := time.Unix(0, 0)
	require.True(t, w.Of("a", 1, time.Second).Take(now).OK)
	require.False(t, w.Of("a", 1, time.Second).Take(now).OK)
	require.True(t, w.Of("b", 1, time.Second).Take(now).OK)
}
