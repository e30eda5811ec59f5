package tenantfile

import (
	"fmt"
	"slices"
	"strings"
)

// near is the known word that a typo most likely meant; empty where none is near.
func near(word string, known []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// instead is the remedy for a word that is not among the known ones.
func instead(word string, known []string) string {
	if k := near(word, known); k != "" {
		return fmt.Sprintf("did you mean %s?", k)
	}
	if len(known) == 0 {
		return "remove it"
	}
	return "use one of " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// wordMax bounds what distance looks at.
const wordMax = 64

// distance counts the insertions, deletions, changes and swaps of neighbours between two words.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	x, y = x[:min(len(x), wordMax)], y[:min(len(y), wordMax)]
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
