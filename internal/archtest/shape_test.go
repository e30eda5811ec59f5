package archtest

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	linesMax     = 400 // of a file that is neither generated nor a test
	testLinesMax = 600
)

func read(t *testing.T, rel string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, rel))
	require.NoError(t, err)
	return text
}

func TestFilesFitTheirLimits(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t) {
		text := read(t, f.path)
		limit := linesMax
		if f.test {
			limit = testLinesMax
		}
		if bytes.HasPrefix(text, []byte("// Code generated")) {
			continue
		}
		require.LessOrEqual(t, bytes.Count(text, []byte("\n")), limit, f.path)
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	comment := regexp.MustCompile(`(?m)^// (Package|Command) `)
	said := map[string]bool{}
	var dirs []string
	for _, f := range tree(t) {
		if f.test {
			continue
		}
		if !slices.Contains(dirs, f.dir) {
			dirs = append(dirs, f.dir)
		}
		said[f.dir] = said[f.dir] || comment.Match(read(t, f.path))
	}
	for _, dir := range dirs {
		require.True(t, said[dir], "package %s has no comment", dir)
	}
}

func TestMessagesAreInTheGerund(t *testing.T) {
	t.Parallel()
	banned := regexp.MustCompile(`(Errorf|errors\.New)\("(failed to|unable to|cannot|error )`)
	for _, f := range tree(t) {
		if f.test {
			continue
		}
		for i, line := range strings.Split(string(read(t, f.path)), "\n") {
			require.False(t, banned.MatchString(line), "%s:%d: say what was being done, in the gerund", f.path, i+1)
		}
	}
}

func TestNothingIsLeftForLater(t *testing.T) {
	t.Parallel()
	later := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b|not ` + `implemented`)
	for _, f := range tree(t) {
		require.Empty(t, later.FindString(string(read(t, f.path))), f.path)
	}
}
