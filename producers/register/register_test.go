package register

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/producers"
	"conveyance/producers/skyslope"
)

// TestEveryVendorIsWhole walks the register, and the folders beside it.
func TestEveryVendorIsWhole(t *testing.T) {
	t.Parallel()
	vendors, err := Vendors(producers.Deps{})
	require.NoError(t, err)
	var names []string
	for _, v := range vendors {
		names = append(names, v.Name)
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join("..", v.Name)
			require.True(t, holds(t, dir, `(?m)^// Package `+v.Name+` `), "its package has no comment")
			require.True(t, holds(t, dir, `producerstest\.Run\(`), "its test does not call the suite")
			require.True(t, holds(t, dir, `func Fuzz`), "its parsers are not fuzzed")
			cases, err := filepath.Glob(filepath.Join(dir, "testdata", "*", "facts.json"))
			require.NoError(t, err)
			require.NotEmpty(t, cases, "it has no testdata")
			require.FileExists(t, filepath.Join(dir, "testdata", "README.md"), "nothing says where the shapes of its testdata come from")
			require.NotEmpty(t, v.AccountSchema)
			require.NotNil(t, v.Checker)
			require.True(t, v.Poller == nil || v.PollEvery > 0)
		})
	}
	folders, err := os.ReadDir("..")
	require.NoError(t, err)
	for _, f := range folders {
		if f.IsDir() && !slices.Contains([]string{"register", "producerstest", "ingest"}, f.Name()) { // ingest is the stage's door
			require.True(t, slices.Contains(names, f.Name()), "folder %s is no line of the register", f.Name())
		}
	}
}

func holds(t *testing.T, dir, pattern string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	return slices.ContainsFunc(files, func(f string) bool {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		return regexp.MustCompile(pattern).Match(text)
	})
}

func TestAWrongLineIsAnErrorAtStart(t *testing.T) {
	t.Parallel()
	_, err := build(producers.Deps{}, skyslope.New, skyslope.New)
	require.ErrorContains(t, err, "two vendors of the register are named skyslope")
	_, err = build(producers.Deps{}, func(producers.Deps) (producers.Vendor, error) { return producers.Vendor{Name: "x"}, nil })
	require.ErrorContains(t, err, "lacks its name, mapper or kinds")
	broken := errors.New("no schema")
	_, err = build(producers.Deps{}, func(producers.Deps) (producers.Vendor, error) { return producers.Vendor{}, broken })
	require.ErrorIs(t, err, broken)
}
