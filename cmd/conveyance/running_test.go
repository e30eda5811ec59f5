package main

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shapes are the keys of every command's --json that scripts rely on.
var shapes = []struct {
	line string
	keys string
	none bool // may print nothing
}{
	{line: "status", keys: "processes groups held accounts breakers drift"},
	{line: "why lakeshore", keys: "what kind sentences held"},
	{line: "why lakeshore/followupboss/main", keys: "what kind sentences held"},
	{line: "why DEAL", keys: "what kind sentences held"},
	{line: "trace DEAL", keys: "at kind topic partition offset event_id version line"},
	{line: "held list", keys: "adapter kind scope cause key tenant since next_try count", none: true},
	{line: "link list", keys: "resource tenant undone since claims deals", none: true},
	{line: "tenant list", keys: "tenant name account external_id state adapters delivered keys"},
	{line: "tenant check", none: true},
	{line: "tenant diff -f TENANTS", none: true},
	{line: "tenant apply -f TENANTS", none: true},
	{line: "topics list", keys: "topic partitions replication records bytes retention_ms cleanup"},
	{line: "topics apply --replication 1", keys: "topic action detail"},
	{line: "topics verify --replication 1", none: true},
	{line: "schema list", keys: "subject versions id compatibility"},
	{line: "schema register", keys: "subject id version new"},
	{line: "schema check", none: true},
	{line: "migrate --plan", none: true},
	{line: "config", keys: "name env value"},
	{line: "version", keys: "version go"},
}

// moment is a time as scripts read it: RFC 3339, UTC, milliseconds.
var moment = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]*"`)

// words of a line with what this up knows.
func (b *bus) words(line, deal string) []string {
	line = strings.ReplaceAll(line, "DEAL", deal)
	return append(strings.Fields(strings.ReplaceAll(line, "TENANTS", filepath.Join(b.dir, "tenants"))), "--dir", b.dir)
}

// deal is the key of a deal whose effects are in the CRM.
func (b *bus) deal(t *testing.T) (key string) {
	t.Helper()
	await(t, "a deal in the CRM", func() bool {
		for line := range strings.Lines(b.said.String()) {
			var l storyLine
			if json.Unmarshal([]byte(line), &l) == nil && l.Step == "effect" {
				key = l.Deal
			}
		}
		return key != ""
	})
	return key
}

func TestJSONOfEveryCommandHasTheKeysThatScriptsRelyOn(t *testing.T) {
	t.Parallel()
	b := running(t)
	deal := b.deal(t)
	for _, l := range lines(t, must(t, "trace", deal, "--dir", b.dir, "--json")) {
		require.Regexp(t, `^(snapshots\.(skyslope|docusign)|deals|contacts|links)\.v1$`, l["topic"], "%v", l)
		require.True(t, l["kind"] == "hint" || l["version"].(float64) > 0, "%v", l)
	}
	for _, s := range shapes {
		out := must(t, append(b.words(s.line, deal), "--json")...)
		require.True(t, s.none || out != "", s.line)
		for _, one := range lines(t, out) {
			for _, key := range strings.Fields(s.keys) {
				require.Contains(t, one, key, s.line)
			}
		}
		for _, at := range moment.FindAllString(out, -1) {
			require.Regexp(t, `^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"$`, at, s.line)
		}
		require.NotEmpty(t, must(t, b.words(s.line, deal)...), "%s says something to a person too", s.line)
	}
}

func TestTracesExampleIsADealOfTheStory(t *testing.T) {
	t.Parallel()
	b := running(t)
	named, _, _ := strings.Cut(strings.TrimPrefix(traceCmd{}.Help(), "Example: conveyance trace "), "\n")
	await(t, "the story's first deal", func() bool { return strings.Contains(b.said.String(), named) })
	require.Contains(t, must(t, "trace", named, "--dir", b.dir), "lakeshore/skyslope/main/sale/"+named)
}

func TestReadyLineIsUpJSONAndTheStoryFollows(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.deal(t)
	all := lines(t, firstLines(b.said.String()))
	require.NotEmpty(t, all)
	for _, key := range []string{"kafka", "registry", "postgres", "http", "sandbox", "topic_prefix", "pid", "processes", "tenants"} {
		require.Contains(t, all[0], key)
	}
	require.Equal(t, "ready", all[0]["kind"])
	require.EqualValues(t, b.cmd.Process.Pid, all[0]["pid"])
	for _, name := range stageNames() {
		require.Contains(t, all[0]["processes"], name)
	}
	require.Contains(t, b.Tenants["lakeshore"].Accounts, "skyslope/main")
	steps := map[any]bool{}
	for _, l := range all[1:] {
		require.Equal(t, "story", l["kind"])
		for _, key := range []string{"at", "tenant", "deal", "step", "line", "ms"} {
			require.Contains(t, l, key)
		}
		steps[l["step"]] = true
	}
	for _, step := range []string{"hint", "fact", "meaning", "effect"} {
		require.True(t, steps[step], "%s in %v", step, steps)
	}
	info, err := os.Stat(filepath.Join(b.dir, "up.json"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		resp, err := http.Get(b.HTTP + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
	}
}

// firstLines are the JSON lines of what up said, without its words for people.
func firstLines(said string) string {
	var b strings.Builder
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "{") && strings.HasSuffix(line, "\n") && !strings.HasPrefix(line, `{"level"`) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestParkedDealIsFoundExplainedAndDropped(t *testing.T) {
	t.Parallel()
	b := running(t)
	const guid = "00000000-0000-4000-8000-00000000dead"
	key := "redrock/skyslope/main/sale/" + guid
	b.control(t, http.MethodPost, "/skyslope/faults", `{"account":"redrock","match":"GET /api/files*","fault":"rename:status=transaction_status"}`)
	b.control(t, http.MethodPut, "/skyslope/sales/"+guid+"?tenant=redrock", `{"status":"Pending","salePrice":1,"buyers":[]}`)
	await(t, "the park", func() bool {
		return strings.Contains(must(t, "held", "list", "--adapter", "translate", "--dir", b.dir), guid)
	})
	code, out, errs := call(t, "status", "--fail", "--dir", b.dir)
	require.Equal(t, exitFound, code, "%s%s", out, errs)
	require.Contains(t, out, "contract broken: /status")
	require.Contains(t, must(t, "why", key, "--dir", b.dir), "conveyance held release --adapter translate --key '"+key+"'")
	shown := lines(t, must(t, "held", "show", key, "--dir", b.dir, "--json"))
	require.Len(t, shown, 1)
	for _, k := range []string{"adapter", "records", "effects", "evidence", "cause"} {
		require.Contains(t, shown[0], k)
	}
	b.control(t, http.MethodDelete, "/skyslope/faults", "")
	require.Equal(t, exitUsage, first(call(t, "held", "drop", key, "--adapter", "translate", "--dir", b.dir)), "a reason is asked for")
	require.Contains(t, refused(t, "held", "drop", key, "--adapter", "fetch", "--reason", "none", "--dir", b.dir), "no such key")
	must(t, "held", "drop", key, "--adapter", "translate", "--reason", "a test's own", "--dir", b.dir)
	await(t, "the drop", func() bool {
		return !strings.Contains(must(t, "held", "list", "--adapter", "translate", "--dir", b.dir), guid)
	})
}

func TestStatusThatNobodyKnowsFlowsAndAlarms(t *testing.T) {
	t.Parallel()
	b := running(t)
	const guid = "00000000-0000-4000-8000-00000000d21f"
	b.control(t, http.MethodPut, "/skyslope/sales/"+guid+"?tenant=redrock", `{"status":"Attorney Review","salePrice":1,"buyers":[]}`)
	await(t, "the drift", func() bool {
		return strings.Contains(must(t, "status", "--dir", b.dir), `drift of skyslope: unknown-value at /status ("Attorney Review"), `)
	})
	require.Contains(t, must(t, "trace", "redrock/skyslope/main/sale/"+guid, "--dir", b.dir), "UNKNOWN", "its event is on the bus")
	code, out, errs := call(t, "status", "--fail", "--dir", b.dir, "--json")
	require.Equal(t, exitFound, code, errs)
	of := lines(t, out)[0]["drift"].([]any)[0].(map[string]any)
	for _, key := range []string{"vendor", "path", "kind", "what", "count", "first", "last"} {
		require.Contains(t, of, key)
	}
}

func first(code int, _, _ string) int { return code }

// Not parallel: other tests apply up's own files, which would mend the stage before it is looked at.
func TestCheckFindsAStageThatTheCRMDoesNotHave(t *testing.T) {
	b := running(t)
	folder := filepath.Join(b.dir, "tenants")
	file := filepath.Join(folder, "redrock.yaml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	odd := strings.Replace(string(text), "CLOSED: Closed}", "CLOSED: Closd}", 1)
	require.NotEqual(t, string(text), odd)
	other := t.TempDir() // up's own files stay as they are
	require.NoError(t, os.WriteFile(filepath.Join(other, "redrock.yaml"),
		[]byte(strings.ReplaceAll(odd, "../secrets", filepath.Join(b.dir, "secrets"))), 0o600))
	require.Equal(t, exitFound, first(call(t, "tenant", "diff", "-f", other, "--dir", b.dir)))
	must(t, "tenant", "apply", "-f", other, "--dir", b.dir)
	defer must(t, "tenant", "apply", "-f", folder, "--dir", b.dir)
	code, out, errs := call(t, "tenant", "check", "redrock", "--dir", b.dir, "--json")
	require.Equal(t, exitFound, code, errs)
	require.Contains(t, out, "Closd")
}

// Not parallel: what others wait for must not be paused.
func TestPauseAndResumeAreSeen(t *testing.T) {
	b := running(t)
	before := time.Now()
	must(t, "tenant", "pause", "lakeshore/skyslope/main", "--dir", b.dir)
	require.Contains(t, must(t, "tenant", "list", "--dir", b.dir), "paused")
	shown := lines(t, must(t, "status", "--dir", b.dir, "--json"))[0]["accounts"].([]any)
	require.Len(t, shown, 1)
	require.Equal(t, "conveyance tenant resume lakeshore/skyslope/main", shown[0].(map[string]any)["remedy"])
	since, err := time.Parse(time.RFC3339, shown[0].(map[string]any)["since"].(string))
	require.NoError(t, err)
	require.WithinRange(t, since, before.Add(-time.Second), time.Now().Add(time.Second))
	must(t, "tenant", "resume", "lakeshore/skyslope/main", "--dir", b.dir)
	require.NotContains(t, must(t, "tenant", "list", "--dir", b.dir), "paused")
	require.Contains(t, refused(t, "tenant", "pause", "nobody", "--dir", b.dir), "nobody")
}

func TestNoOutputAndNoLogHoldsASecret(t *testing.T) {
	t.Parallel()
	b := running(t)
	deal := b.deal(t)
	var text strings.Builder
	start, said, _ := strings.Cut(b.said.String(), `{"kind":"ready"`)
	ready, story, _ := strings.Cut(said, "\n")
	require.Contains(t, ready, `"secret":`, "up.json, which only its owner reads, is printed whole")
	text.WriteString(start + story)
	for _, s := range shapes {
		for _, more := range [][]string{{"--json"}, nil} {
			_, out, errs := call(t, append(b.words(s.line, deal), more...)...)
			text.WriteString(out + errs)
		}
	}
	logs, err := filepath.Glob(filepath.Join(b.dir, "log", "*.log"))
	require.NoError(t, err)
	require.Len(t, logs, len(stageNames())+3)
	for _, file := range logs {
		log, err := os.ReadFile(file)
		require.NoError(t, err)
		text.Write(log)
	}
	for _, secret := range secrets(t, b.dir) {
		told := strings.Contains(text.String(), secret)
		require.False(t, told, "a secret of %d bytes is told", len(secret)) // and not told again here
	}
}

// secrets are the values of every file below secrets that nobody may print.
func secrets(t *testing.T, dir string) (all []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "secrets", "*"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 5)
	public := []string{"client_id", "x_system"}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var fields map[string]string
		if json.Unmarshal(text, &fields) != nil {
			all = append(all, strings.TrimSpace(string(text))) // the sealing key
			continue
		}
		for name, value := range fields {
			if !slices.Contains(public, name) {
				all = append(all, value)
			}
		}
	}
	return all
}

func TestConfigShowsEverySettingAndMasksThePassword(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"--json", "--log-level=info"} {
		out := must(t, "config", more, "--dir", t.TempDir(), "--postgres", "postgres://u:planted@h/d", "--registry", "https://u:planted@r")
		require.NotContains(t, out, "planted")
		require.Contains(t, out, "u:xxxxx@h")
		for _, env := range []string{"CONVEYANCE_DIR", "CONVEYANCE_LISTEN", "CONVEYANCE_SEALING_KEY", "CONVEYANCE_CALL_DEADLINE"} {
			require.Equal(t, 1, strings.Count(out, env), env)
		}
	}
}
