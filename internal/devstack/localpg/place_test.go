package localpg

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStandInsOfDeletedFoldersAreSwept(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	make := func(name string, noted, serving bool) string {
		dir, base := filepath.Join(root, "home", name), filepath.Join(root, "conveyance-"+name)
		require.NoError(t, os.MkdirAll(dir, 0o700))
		require.NoError(t, os.MkdirAll(filepath.Join(base, "data"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(base, origin), []byte(dir), 0o600))
		if noted {
			require.NoError(t, os.WriteFile(filepath.Join(dir, note), nil, 0o600))
		}
		if serving {
			require.NoError(t, os.WriteFile(filepath.Join(base, "data", "postmaster.pid"), nil, 0o600))
		}
		return base
	}
	kept, serving, deleted := make("kept", true, false), make("serving", false, true), make("deleted", false, false)
	stranger := filepath.Join(root, "conveyance-without-origin")
	require.NoError(t, os.Mkdir(stranger, 0o700))
	sweep(root)
	require.DirExists(t, kept)
	require.DirExists(t, serving)
	require.DirExists(t, stranger)
	require.NoDirExists(t, deleted)
}

func TestFolderOfAStrangerIsNotUsed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	ours := filepath.Join(root, "ours")
	require.NoError(t, claim(ours, 0o711))
	require.NoError(t, claim(ours, 0o711), "again")
	info, err := os.Stat(ours)
	require.NoError(t, err)
	require.EqualValues(t, 0o711, info.Mode().Perm())

	open := filepath.Join(root, "open")
	require.NoError(t, os.Mkdir(open, 0o700))
	require.NoError(t, os.Chmod(open, 0o777))
	require.ErrorContains(t, claim(open, 0o711), open+" belongs to somebody else, or others may write there")
	link := filepath.Join(root, "link")
	require.NoError(t, os.Symlink(ours, link))
	require.ErrorContains(t, claim(link, 0o711), "look at it and remove it")
	if os.Getuid() != 0 {
		return // only root can make a stranger's folder
	}
	strangers := filepath.Join(root, "strangers")
	require.NoError(t, os.Mkdir(strangers, 0o700))
	require.NoError(t, os.Chown(strangers, 12345, 12345))
	require.ErrorContains(t, claim(strangers, 0o711), "belongs to somebody else")
}

func TestEveryFolderAboveMustBeEnterable(t *testing.T) {
	t.Parallel()
	root, err := os.MkdirTemp("/var/tmp", "localpg-test-") //nolint:usetesting // t.TempDir lies below a 0700 folder
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	inner := filepath.Join(root, "a", "b")
	require.NoError(t, os.MkdirAll(inner, 0o755))
	stranger := &syscall.Credential{Uid: 12345, Gid: 12345}
	require.False(t, enterable(inner, stranger), "MkdirTemp makes 0700")
	require.NoError(t, os.Chmod(root, 0o711))
	require.True(t, enterable(inner, stranger))
	require.NoError(t, os.Chmod(filepath.Join(root, "a"), 0o750))
	require.False(t, enterable(inner, stranger))
	require.False(t, enterable(filepath.Join(root, "none"), stranger))
	owner := &syscall.Credential{Uid: uint32(os.Getuid()), Gid: 12345}
	require.NoError(t, os.Chmod(root, 0o701))
	require.True(t, enterable(inner, owner))
}

// repository serves a Maven repository that holds an archive with what testdata has: three scripts
// in the place of initdb, postgres and pg_ctl that do nothing but fail.
func repository(t *testing.T, sum string) (url string, asked *[]string) {
	t.Helper()
	txz, err := os.ReadFile("testdata/postgres-fake.txz")
	require.NoError(t, err)
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("postgres-fake.txz")
	require.NoError(t, err)
	_, err = w.Write(txz)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	if sum == "" {
		hash := sha256.Sum256(jar.Bytes())
		sum = hex.EncodeToString(hash[:])
	}
	asked = new([]string)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path)
		switch {
		case strings.HasSuffix(r.URL.Path, ".jar.sha256"):
			_, _ = w.Write([]byte(sum))
		case strings.HasSuffix(r.URL.Path, "-"+string(postgresVersion)+".jar"):
			_, _ = w.Write(jar.Bytes())
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

func TestBinariesAreDownloadedOnceAndWhole(t *testing.T) {
	t.Parallel()
	url, asked := repository(t, "")
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, string(postgresVersion)+".new", "bin"), 0o755)) // interrupted
	var told bytes.Buffer
	opts := Options{BinaryRepository: url, Progress: &told}
	bin, err := fetch(t.Context(), opts, root, filepath.Join(root, "cache"))
	require.NoError(t, err)
	require.True(t, complete(bin))
	require.Contains(t, (*asked)[0], "/io/zonky/test/postgres/embedded-postgres-binaries-")
	require.Equal(t, 1, strings.Count(told.String(), "\n"))
	require.Contains(t, told.String(), "downloading one (15 MB, once) into "+filepath.Dir(bin))

	n := len(*asked)
	again, err := fetch(t.Context(), opts, root, filepath.Join(root, "cache"))
	require.NoError(t, err)
	require.Equal(t, bin, again)
	require.Len(t, *asked, n)
}

func TestDownloadThatFailsSaysWhatToDo(t *testing.T) {
	t.Parallel()
	wrong, _ := repository(t, strings.Repeat("0", 64))
	empty := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(empty.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	for url, cause := range map[string]string{
		wrong:      "downloaded checksums do not match",
		empty.URL:  "no version found matching " + string(postgresVersion),
		closed.URL: "unable to connect to " + closed.URL,
	} {
		root := t.TempDir()
		_, err := fetch(t.Context(), Options{BinaryRepository: url}, root, filepath.Join(root, "cache"))
		require.ErrorContains(t, err, "install PostgreSQL 15 or newer, or give --postgres URL")
		require.ErrorContains(t, err, cause)
		require.NoDirExists(t, filepath.Join(root, string(postgresVersion)))
	}
}

func TestRepositoryThatHangsEndsWithTheContext(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	root := t.TempDir()
	_, err := fetch(ctx, Options{BinaryRepository: srv.URL}, root, filepath.Join(root, "cache"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestNewestInstalledVersionIsTaken(t *testing.T) {
	t.Parallel()
	require.Equal(t, 15, version("/usr/lib/postgresql/15/bin"))
	require.Equal(t, 9, version("/usr/pgsql-9.6/bin"))
	require.Equal(t, 17, version("/opt/homebrew/opt/postgresql@17/bin"))
	require.Zero(t, version("/usr/local/bin"))
}

func TestFatalLineIsThatOfThisStartAndThisProcess(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	before := "2026 [7] FATAL:  of an earlier start\n"
	after := "2026 [8] LOG:  starting\n2026 [9] FATAL:  terminating connection\n" +
		"2026 [8] FATAL:  lock file \"postmaster.pid\" already exists\n2026 [8] HINT:  Is another postmaster running?\n"
	require.NoError(t, os.WriteFile(file, []byte(before+after), 0o600))
	from := int64(len(before))
	require.Equal(t, `lock file "postmaster.pid" already exists (Is another postmaster running?)`, fatal(file, from, 8))
	require.Equal(t, "terminating connection", fatal(file, from, 9))
	require.Empty(t, fatal(file, from, 7))
	require.Empty(t, fatal(file, size(file), 8))
	require.Empty(t, fatal(file+".none", 0, 8))
}
