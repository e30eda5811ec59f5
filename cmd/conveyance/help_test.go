package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"conveyance/avro/topic"
)

// leaves are the commands that do something, by their words.
func leaves(t *testing.T) map[string]*kong.Node {
	t.Helper()
	var c cli
	parser, err := newParser(&c, io.Discard, io.Discard, func(int) {})
	require.NoError(t, err)
	found := map[string]*kong.Node{}
	for _, n := range parser.Model.Leaves(true) {
		found[strings.TrimPrefix(strings.SplitN(n.FullPath(), " <", 2)[0], "conveyance ")] = n
	}
	return found
}

var (
	// example is a command line in a help text, word its words as a shell sees them.
	example = regexp.MustCompile(`conveyance [a-z][^;&>\n]*`)
	word    = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

func TestHelpOfEveryCommandHasAnExampleThatParses(t *testing.T) {
	t.Parallel()
	all := leaves(t)
	require.Greater(t, len(all), 25)
	for words, n := range all {
		code, out, errs := call(t, append(strings.Fields(words), "--help")...)
		require.Zero(t, code, "%s: %s", words, errs)
		require.Contains(t, out, "Example:", words)
		_, after, _ := strings.Cut(n.Detail, "Example:")
		shown := example.FindString(after)
		require.True(t, strings.HasPrefix(shown, "conveyance "+words), "%s --help shows %q", words, shown)
		var c cli
		parser, err := newParser(&c, io.Discard, io.Discard, func(int) {})
		require.NoError(t, err)
		_, err = parser.Parse(word.FindAllString(shown, -1)[1:])
		require.NoError(t, err, "%s --help shows %q", words, shown)
	}
}

func TestWrongUsageIsExitCodeTwoAndSaysWhereToLook(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "nonsense", "up --ports some", "why", "held drop", "status --fial", "tenant apply", "demo", "up --seed seven",
		"held release", "adapter books", "adapter warehouse --from soon",
	} {
		code, out, errs := call(t, strings.Fields(line)...)
		require.Equal(t, exitUsage, code, "%q: %s%s", line, out, errs)
		require.Contains(t, errs, "--help", line)
		require.Empty(t, out, line)
	}
}

func TestEveryMissingSettingIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	code, _, errs := call(t, "translate", "--dir", t.TempDir())
	require.Equal(t, exitFailed, code)
	for _, name := range []string{"--kafka", "CONVEYANCE_REGISTRY", "--postgres"} {
		require.Contains(t, errs, name)
	}
}

func TestSettingsOfARunningUpAreFoundAndGivenOnesGoBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	prefix := func(args ...string) any {
		for _, s := range lines(t, must(t, append([]string{"config", "--json", "--dir", dir}, args...)...)) {
			if s["name"] == "topic-prefix" {
				return s["value"]
			}
		}
		return nil
	}
	require.Equal(t, topic.PrefixDefault, prefix())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "up.json"), []byte(`{"topic_prefix":"other."}`), 0o600))
	require.Equal(t, "other.", prefix())
	require.Equal(t, "mine.", prefix("--topic-prefix", "mine."))
}
