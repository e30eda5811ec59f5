package fetch

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSlotsGoAroundTheAccountsLiveFirst(t *testing.T) {
	t.Parallel()
	who := func(name string) account { return account{name, "acme", "main"} }
	due := []waiting{
		{who("a"), live, 4}, {who("b"), live, 1}, {who("c"), live, 4}, {who("a"), backfill, 4}, {who("d"), backfill, 4},
	}
	f := fair{busy: map[string]int{}, after: map[lane]string{live: who("a").key()}, free: 4, backfillFree: 4}
	require.Equal(t, []share{{who("b"), live, 1}, {who("c"), live, 2}, {who("a"), live, 1}}, f.deal(due))
	f.free = 12
	require.Equal(t, []share{
		{who("a"), live, 3}, {who("b"), live, 1}, {who("c"), live, 2}, // a and c have the rest in hand
		{who("d"), backfill, 4}, // a's slots are taken by what happens now
	}, f.deal(due))
}

func TestAccountThatWasHeldIsTriedWithOneRow(t *testing.T) {
	t.Parallel()
	who := account{"a", "acme", "main"}
	f := fair{busy: map[string]int{}, wary: map[string]bool{who.key(): true}, after: map[lane]string{}, free: 8, backfillFree: 8}
	due := []waiting{{who, live, 4}, {account{"b", "acme", "main"}, live, 4}}
	require.Equal(t, []share{{who, live, 1}, {due[1].account, live, 4}}, f.deal(due))
	require.Empty(t, f.deal(due[:1]), "while that one is in hand")
}

func TestNoAccountThatWaitsIsPassedOverTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "accounts")
		var due []waiting
		for i := range n {
			due = append(due, waiting{account{fmt.Sprintf("t%02d", i), "acme", "main"}, live, perAccountMax})
		}
		free := rapid.IntRange(1, 10).Draw(t, "free")
		after := map[lane]string{live: rapid.SampledFrom(due).Draw(t, "after").key()}
		served := map[string]int{}
		for range (n + free - 1) / free { // as many rounds as it takes for everybody
			f := fair{busy: map[string]int{}, after: after, free: free, backfillFree: free}
			given := 0
			for _, s := range f.deal(due) {
				served[s.key()]++
				given += s.rows
				require.LessOrEqual(t, s.rows, perAccountMax)
			}
			require.Equal(t, min(free, n*perAccountMax), given)
		}
		require.Len(t, served, n)
	})
}
