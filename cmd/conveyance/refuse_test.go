package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/devstack"
	"conveyance/internal/testkit"
)

// nowhere is an address at which nobody listens.
func nowhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

// refused runs a command that must fail, and returns its last sentence.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := call(t, args...)
	require.Equal(t, exitFailed, code, "%v: %s%s", args, out, errs)
	require.Empty(t, out)
	sentence := errs[strings.LastIndex(errs, "conveyance: "):]
	require.NotContains(t, sentence, "planted")
	return strings.TrimSpace(sentence)
}

func TestCommandSaysWhichServerIsAwayAndWhatNext(t *testing.T) {
	t.Parallel()
	at := nowhere(t)
	for line, want := range map[string]string{
		"status --postgres postgres://u:planted@" + at + "/d":                                    "Postgres does not answer: start it, or correct --postgres: dial tcp " + at,
		"migrate --postgres postgres://u:planted@" + at + "/d":                                   "Postgres does not answer: start it, or correct --postgres: dial tcp " + at,
		"topics list --kafka " + at:                                                              "Kafka does not answer: start it, or correct --kafka: dial tcp " + at,
		"schema list --registry http://" + at:                                                    "the registry does not answer: start it, or correct --registry: dial tcp " + at,
		"translate --kafka x:1 --registry http://x --postgres postgres://u:planted@" + at + "/d": "Postgres does not answer",
	} {
		said := refused(t, append(strings.Fields(line), "--dir", t.TempDir())...)
		require.Contains(t, said, want, line)
		require.NotContains(t, said, "\n", line)
	}
}

func TestCommandSaysThatTheUpItFoundHasEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := `{"kind":"ready","postgres":"postgres://u:planted@` + nowhere(t) + `/d","pid":4194305}` // above any pid
	require.NoError(t, os.WriteFile(filepath.Join(dir, "up.json"), []byte(text), 0o600))
	require.Contains(t, refused(t, "status", "--dir", dir), "has ended: start conveyance up again")
}

func TestStageRefusesToStartOnASchemaThatIsTooOld(t *testing.T) {
	t.Parallel()
	url := testkit.Database(t)
	args := []string{"translate", "--kafka", nowhere(t), "--registry", "http://" + nowhere(t), "--postgres", url, "--dir", t.TempDir()}
	require.Contains(t, refused(t, args...), "a migration is missing: run conveyance migrate")
	code, out, _ := call(t, "migrate", "--plan", "--postgres", url)
	require.Equal(t, exitFound, code)
	require.Contains(t, out, "translate/0001_init.sql")
	must(t, "migrate", "--postgres", url)
	require.Equal(t, "nothing is missing\n", must(t, "migrate", "--plan", "--postgres", url))
}

func TestUpSaysWhichPortIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	taken := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ports.json"), []byte(`{"Kafka":`+taken+`}`), 0o600))
	require.Contains(t, refused(t, "up", "--ports", "auto", "--dir", dir),
		"port "+taken+", which is for Kafka, is in use: stop what holds it, or begin anew with --fresh")
}

func TestUpStaysOutOfAFolderThatAnotherHolds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unlock, err := lockDir(dir)
	require.NoError(t, err)
	kept := filepath.Join(dir, "registry.json")
	require.NoError(t, os.WriteFile(kept, []byte("{}"), 0o600))
	for _, more := range []string{"--ports=auto", "--fresh"} {
		require.Contains(t, refused(t, "up", "--dir", dir, more), "is in use by another up (pid "+strconv.Itoa(os.Getpid())+"): stop it, or use another --dir")
	}
	require.FileExists(t, kept, "--fresh deletes nothing of another's")
	unlock()
	require.NoError(t, removeStack(dir))
	require.NoFileExists(t, kept)
}

func TestUpReadsTheTenantsFilesBeforeItStartsAnything(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, old, new, want string }{
		"typo": {"lakeshore.yaml", "forward_only", "forwrd_only", `lakeshore.yaml:32:7: unknown key "forwrd_only": did you mean forward_only?`},
		"base": {"redrock.yaml", "http://127.0.0.1:1/skyslope", "http://10.0.0.1/skyslope", "redrock.yaml:"},
	} {
		dir := t.TempDir()
		folder, err := devstack.WriteBrokerages(dir, "http://127.0.0.1:1")
		require.NoError(t, err)
		file := filepath.Join(folder, c.file)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(text), c.old)
		require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(text), c.old, c.new)), 0o600))
		require.Contains(t, refused(t, "up", "--ports", "auto", "--dir", dir), c.want, name)
		logs, err := filepath.Glob(filepath.Join(dir, "log", "*"))
		require.NoError(t, err)
		require.Empty(t, logs, "nothing was started")
	}
}

func TestUpRefusesTwoAccountsWithOneExternalID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder, err := devstack.WriteBrokerages(dir, "http://127.0.0.1:1")
	require.NoError(t, err)
	file := filepath.Join(folder, "redrock.yaml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), "31882", "20417", 1)), 0o600))
	require.Contains(t, refused(t, "up", "--ports", "auto", "--dir", dir, "--postgres", testkit.Database(t)),
		`redrock.yaml:8:18: external_id "20417" at skyslope is also that of account lakeshore/skyslope/main`)
}
