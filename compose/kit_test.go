package compose

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"conveyance/consumers"
	consumerreg "conveyance/consumers/register"
	"conveyance/producers"
	producerreg "conveyance/producers/register"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

// images are the lines of images.env.
func images(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(read(t, "images.env")) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, image, ok := strings.Cut(line, "=")
		require.True(t, ok, line)
		require.NotContains(t, all, name)
		all[name] = image
	}
	return all
}

// project is compose.yaml as an engine reads it: merged, filled from images.env, checked for cycles and
// for names that lead nowhere. It has the tools' services, too.
func project(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithEnvFiles("images.env"), cli.WithDotEnv,
		cli.WithProfiles([]string{"*"}))
	require.NoError(t, err)
	p, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return p
}

// ours are the services that run the product's image.
func ours(t *testing.T, p *types.Project) (names []string) {
	t.Helper()
	for _, name := range p.ServiceNames() {
		if p.Services[name].Image == images(t)["CONVEYANCE_IMAGE"] {
			names = append(names, name)
		}
	}
	require.Greater(t, len(names), 10)
	return names
}

func destinations(t *testing.T) []consumers.Destination {
	t.Helper()
	vendors, err := producerreg.Vendors(producers.Deps{})
	require.NoError(t, err)
	var names []string
	for _, v := range vendors {
		names = append(names, v.Name)
	}
	all, err := consumerreg.Destinations(names...)
	require.NoError(t, err)
	return all
}

// buildLine is the Dockerfile's line that makes the binary.
var buildLine = regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .* -o )/out/conveyance( \./cmd/conveyance)$`)

var built struct {
	once sync.Once
	file string
	said []byte
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.file != "" {
		_ = os.RemoveAll(filepath.Dir(built.file))
	}
	os.Exit(code)
}

// binary is the product, built as the Dockerfile builds it.
func binary(t *testing.T) string {
	t.Helper()
	line := buildLine.FindStringSubmatch(read(t, "Dockerfile"))
	require.Len(t, line, 3, "the Dockerfile's go build line")
	built.once.Do(func() {
		dir, err := os.MkdirTemp("", "conveyance-image") //nolint:usetesting // the package's tests share it
		if err != nil {
			built.err = err
			return
		}
		built.file = filepath.Join(dir, "conveyance")
		cmd := exec.Command("sh", "-c", line[1]+built.file+line[2])
		cmd.Dir = ".."
		built.said, built.err = cmd.CombinedOutput()
	})
	require.NoError(t, built.err, "%s", built.said)
	return built.file
}

// run runs the product as a container does: with nothing but env in its environment, in a
// folder without a running up.
func run(t *testing.T, args, env []string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = t.TempDir(), env, &out, &errs
	err := cmd.Run()
	if _, ended := err.(*exec.ExitError); !ended { //nolint:errorlint // os/exec returns it bare
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// known are the environment variables that the product reads.
func known(t *testing.T) []string {
	t.Helper()
	code, out, errs := run(t, []string{"config", "--json"}, nil)
	require.Zero(t, code, errs)
	var names []string
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		var setting struct{ Env string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &setting))
		names = append(names, setting.Env)
	}
	require.Contains(t, names, "CONVEYANCE_KAFKA")
	return append(names, "GOMEMLIMIT") // Go's own
}

// unreachable is env with every server at a port where nobody listens, and secrets that are there, so that
// a command that parses ends soon, and with 1.
func unreachable(t *testing.T, env map[string]string) []string {
	t.Helper()
	const nobody = "127.0.0.1:1"
	env = maps.Clone(env)
	for name, value := range map[string]string{
		"CONVEYANCE_KAFKA": nobody, "CONVEYANCE_REGISTRY": "http://" + nobody, "CONVEYANCE_LISTEN": nobody,
		"CONVEYANCE_POSTGRES": "postgres://conveyance@" + nobody + "/conveyance?connect_timeout=1",
	} {
		if env[name] != "" {
			env[name] = value
		}
	}
	if env["CONVEYANCE_SEALING_KEY"] != "" {
		_, key, _ := run(t, []string{"tenant", "key"}, nil)
		file := filepath.Join(t.TempDir(), "sealing.key")
		require.NoError(t, os.WriteFile(file, []byte(key), 0o600))
		env["CONVEYANCE_SEALING_KEY"] = file
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		lines = append(lines, name+"="+env[name])
	}
	return lines
}

// requireCommand fails where a container's command line or environment is not the product's.
func requireCommand(t *testing.T, who string, args []string, env map[string]string) {
	t.Helper()
	names := known(t)
	for name := range env {
		require.Contains(t, names, name, "%s sets %s, which nothing reads", who, name)
	}
	code, out, errs := run(t, args, unreachable(t, env))
	require.Equal(t, 1, code, "%s: conveyance %s: %s%s", who, strings.Join(args, " "), out, errs)
	require.NotContains(t, errs, "settings are missing", who)
}
