package registry_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"

	"conveyance/internal/devstack/dirlock"
	"conveyance/internal/devstack/registry"
)

const envPath = "CONVEYANCE_TEST_REGISTRY_FILE"

// TestMain lets the test binary stand in for an up that registers schemas until it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(envPath); path != "" {
		registerUntilKilled(path)
	}
	os.Exit(m.Run())
}

// registerUntilKilled prints "id name" for each acknowledged registration.
func registerUntilKilled(path string) {
	r, err := registry.Open(path)
	if err != nil {
		panic(err)
	}
	handler := r.Handler()
	for i := 0; ; i++ {
		name := fmt.Sprintf("F%d_%d", os.Getpid(), i)
		body := fmt.Sprintf(`{"schema":"{\"type\":\"fixed\",\"name\":\"%s\",\"size\":4}"}`, name)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/subjects/"+name+"/versions", strings.NewReader(body)))
		var answer struct {
			ID int `json:"id"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			panic(w.Body.String())
		}
		_, _ = fmt.Fprintln(os.Stdout, answer.ID, name)
	}
}

func TestKillLosesNoAcknowledgedIDAndGivesNoneTwice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.json")
	names := map[int]string{} // acknowledged ids
	const kills, each = 8, 25
	for range kills {
		up := exec.Command(os.Args[0])
		up.Env = append(os.Environ(), envPath+"="+path)
		out, err := up.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, up.Start())
		lines := bufio.NewScanner(out)
		read := func() bool {
			var id int
			var name string
			if !lines.Scan() {
				return false
			}
			if n, _ := fmt.Sscan(lines.Text(), &id, &name); n == 2 { // the last line may be cut
				require.Empty(t, names[id], "id %d was given to %s before", id, name)
				names[id] = name
			}
			return true
		}
		for range each {
			require.True(t, read())
		}
		require.NoError(t, up.Process.Kill()) // in the middle of the next registration
		for read() {
		}
		_ = up.Wait()
	}
	_, cl := serve(t, open(t, path))
	for id, name := range names {
		got, err := cl.SchemaByID(t.Context(), id)
		require.NoError(t, err)
		require.Contains(t, got.Schema, `"`+name+`"`)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.json")
	before := open(t, path)
	_, cl := serve(t, before)
	for i := range 3 {
		_, err := cl.CreateSchema(t.Context(), fmt.Sprintf("s%d", i), sr.Schema{Schema: fmt.Sprintf(`{"type":"fixed","name":"F%d","size":1}`, i)})
		require.NoError(t, err)
	}
	_, err := cl.DeleteSubject(t.Context(), "s2", sr.SoftDelete)
	require.NoError(t, err)
	_, err = cl.DeleteSubject(t.Context(), "s2", sr.HardDelete)
	require.NoError(t, err)
	_, err = cl.DeleteSubject(t.Context(), "s1", sr.SoftDelete)
	require.NoError(t, err)
	require.NoError(t, cl.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatFullTransitive})[0].Err)
	require.NoError(t, cl.SetMode(t.Context(), sr.ModeReadOnly, "s0")[0].Err)
	require.NoError(t, before.Close())

	_, cl = serve(t, open(t, path))
	s0, err := cl.SchemaByVersion(t.Context(), "s0", 1)
	require.NoError(t, err)
	require.Equal(t, 1, s0.ID)
	require.Equal(t, sr.CompatFullTransitive, cl.Compatibility(t.Context())[0].Level)
	require.Equal(t, sr.ModeReadOnly, cl.Mode(t.Context(), "s0")[0].Mode)
	_, err = cl.SchemaByID(t.Context(), 3)
	require.Error(t, err, "deleted for good")
	next, err := cl.CreateSchema(t.Context(), "s1", sr.Schema{Schema: `{"type":"fixed","name":"F9","size":9}`})
	require.NoError(t, err)
	require.Equal(t, []int{4, 2}, []int{next.ID, next.Version}, "neither an id nor a version comes again")
}

func TestSecondOpenNamesTheHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.json")
	open(t, path)
	_, err := registry.Open(path)
	_, ok := errors.AsType[*dirlock.InUseError](err)
	require.True(t, ok, "%v", err)
}

func TestWhatAnInterruptedSaveLeftIsNotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.json")
	require.NoError(t, os.WriteFile(path+".tmp", []byte(`{"format":1,"next_`), 0o600))
	_, cl := serve(t, open(t, path))
	got, err := cl.CreateSchema(t.Context(), "s", sr.Schema{Schema: `"string"`})
	require.NoError(t, err)
	require.Equal(t, 1, got.ID)
}

func TestDamagedFileIsNamedAndLeftAlone(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"cut": `{"format":1,`, "empty": ``, "newer": `{"format":9}`} {
		path := filepath.Join(t.TempDir(), "registry.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := registry.Open(path)
		require.ErrorContains(t, err, path, name)
		left, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(left))
	}
}

func TestChangeThatTheDiskRefusesDidNotHappen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.json")
	_, cl := serve(t, open(t, path))
	_, err := cl.CreateSchema(t.Context(), "s", sr.Schema{Schema: `"string"`})
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(path+".tmp", 0o700)) // no file can be written there
	_, err = cl.CreateSchema(t.Context(), "s", sr.Schema{Schema: `"bytes"`})
	refusal, ok := errors.AsType[*sr.ResponseError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []int{500, 50001}, []int{refusal.StatusCode, refusal.ErrorCode})
	versions, err := cl.SubjectVersions(t.Context(), "s")
	require.NoError(t, err)
	require.Equal(t, []int{1}, versions)
	require.NoError(t, os.Remove(path+".tmp"))
	got, err := cl.CreateSchema(t.Context(), "s", sr.Schema{Schema: `"bytes"`})
	require.NoError(t, err)
	require.Equal(t, 2, got.Version)
}

func TestFullDiskIsSaidInOneSentence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("SKIPPED: a full disk needs a small tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	r := open(t, filepath.Join(dir, "registry.json"))
	_, cl := serve(t, r)
	_, err := cl.CreateSchema(t.Context(), "s", sr.Schema{Schema: `"string"`})
	require.NoError(t, err)
	_, err = cl.CreateSchema(t.Context(), "big", sr.Schema{Schema: `{"type":"fixed","name":"F","size":1,"doc":"` + strings.Repeat("x", 100<<10) + `"}`})
	require.ErrorContains(t, err, "the disk of "+dir+" is full: free some space and try again")
	small, err := cl.CreateSchema(t.Context(), "small", sr.Schema{Schema: `"bytes"`})
	require.NoError(t, err)
	require.Equal(t, 2, small.ID)
	require.NoError(t, r.Close())
}
