package mutants

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/judge"
	"conveyance/internal/testkit"
)

// folder holds the binary.
var folder string

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "conveyance-mutants-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// chosen are the mutants to play: those that CONVEYANCE_MUTANTS names, with commas, or all; three quick
// ones otherwise.
func chosen(t *testing.T) []Mutant {
	testkit.Lane(t)
	sample := "unlock before drain,ledger TTL 1 s,tenant from body"
	if text := os.Getenv("CONVEYANCE_MUTANTS"); text != "" {
		sample = text
	}
	if sample == "all" {
		return All()
	}
	names := strings.Split(sample, ",")
	picked := slices.DeleteFunc(All(), func(m Mutant) bool { return !slices.Contains(names, m.Name) })
	require.Len(t, picked, len(names))
	return picked
}

func TestEveryMutantIsFound(t *testing.T) {
	var rows, missed []string
	for _, m := range chosen(t) {
		began := time.Now()
		found := ""
		t.Run(m.Name, func(t *testing.T) {
			found = nothing
			v := play(t, m.Name, m.Scene, func(v judge.Verdict) bool { return m.final() && finding(m, v) != nothing })
			found = finding(m, v)
			t.Logf("%s: %s\n%s", m.Name, v, chaos.Findings(v))
		})
		if found == nothing {
			missed = append(missed, m.Name)
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %.0f |", m.Name, m.Scene, found, time.Since(began).Seconds()))
	}
	t.Logf("\n| mutant | scene | found as | s |\n| --- | --- | --- | --- |\n%s\n%d of %d found",
		strings.Join(rows, "\n"), len(rows)-len(missed), len(rows))
	require.Empty(t, missed, "not found")
}

// The negative control.
func TestUnbrokenBuildIsCleanInEveryScene(t *testing.T) {
	var played []string
	for _, m := range chosen(t) {
		if slices.Contains(played, m.Scene) {
			continue
		}
		played = append(played, m.Scene)
		t.Run(m.Scene, func(t *testing.T) {
			began := time.Now()
			v := play(t, "", m.Scene, func(judge.Verdict) bool { return false })
			t.Logf("%s: %s %.0f s", m.Scene, v, time.Since(began).Seconds())
			require.True(t, v.Clean(), "%s", chaos.Findings(v))
		})
	}
}

func play(t *testing.T, broken, scene string, final func(judge.Verdict) bool) judge.Verdict {
	t.Helper()
	l := start(t, broken)
	require.Contains(t, scenes, scene)
	scenes[scene](t.Context(), l)
	v := l.verdict(t.Context(), final)
	if t.Failed() {
		t.Log(l.Logs())
	}
	return v
}

// final says that what is found of a mutant can be no delay: it need not be waited for.
func (m Mutant) final() bool {
	return slices.Contains([]string{"duplicated", "crossed", "overrun"}, m.Sort) ||
		slices.Contains([]string{inLog, couldTake, fell, before, leftBehind}, m.Says)
}

const nothing = "NOTHING"

// finding is the first one by which a mutant is known.
func finding(m Mutant, v judge.Verdict) string {
	for _, f := range v.Findings() {
		if f.Name != m.Sort {
			continue
		}
		for _, line := range f.All {
			if strings.Contains(line, m.Says) {
				first, _, _ := strings.Cut(line, "\n")
				return fmt.Sprintf("%s %d: %.110s", f.Name, len(f.All), strings.ReplaceAll(first, "|", "/"))
			}
		}
	}
	return nothing
}

var broken = regexp.MustCompile(`fault\.Broken\("([^"]+)"\)`)

// The table and the code name the same mistakes.
func TestEveryMutantIsInTheCode(t *testing.T) {
	t.Parallel()
	places := map[string]int{}
	for _, stage := range []string{"producers", "processors", "consumers", "internal", "cmd"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("../../..", stage), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range broken.FindAllStringSubmatch(string(text), -1) {
				places[m[1]]++
			}
			return err
		}))
	}
	for _, m := range All() {
		require.NotZero(t, places[m.Name], m.Name)
		require.Contains(t, scenes, m.Scene)
		delete(places, m.Name)
	}
	require.Empty(t, places, "in the code, and not in the table")
}
