package localpg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"conveyance/internal/devstack/dirlock"
	"conveyance/internal/devstack/localpg"
	"conveyance/internal/testkit"
)

const envDir = "CONVEYANCE_TEST_POSTGRES_DIR"

// TestMain lets the test binary stand in for an up that is killed while its Postgres serves.
func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		s, err := localpg.Start(context.Background(), localpg.Options{Dir: dir})
		if err != nil {
			panic(err)
		}
		_, _ = fmt.Fprintf(os.Stdout, "%s %d\n", s.URL, s.PID)
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test, too
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// folder is an empty folder that every account may enter, which t.TempDir is not.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "localpg-test-") //nolint:usetesting // see above
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func start(t testing.TB, dir string) *localpg.Server {
	t.Helper()
	s, err := localpg.Start(t.Context(), localpg.Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Stop() })
	return s
}

func exec1(t testing.TB, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func count(t testing.TB, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM deal").Scan(&n))
	return n
}

func TestWhatIsCommittedSurvivesStopAndKill(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "deep", "postgres")
	s := start(t, dir)
	exec1(t, s.URL, "CREATE TABLE deal (id int)")
	exec1(t, s.URL, "INSERT INTO deal VALUES (1)")
	require.NoError(t, s.Stop())
	require.NoError(t, s.Stop(), "twice is once")
	<-s.Done()

	s = start(t, dir)
	require.Equal(t, 1, count(t, s.URL))
	exec1(t, s.URL, "INSERT INTO deal VALUES (2)")
	require.NoError(t, s.Kill())
	<-s.Done()

	s = start(t, dir) // at once, while backends of the killed one may still end
	require.Equal(t, 2, count(t, s.URL))
}

func TestSecondStartOnOneFolderNamesTheHolderAtOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "postgres")
	s := start(t, dir)
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: dir})
	_, inUse := errors.AsType[*dirlock.InUseError](err)
	require.True(t, inUse, "%v", err)
	require.ErrorContains(t, err, fmt.Sprintf("(pid %d): stop it or use --dir", os.Getpid()))
	exec1(t, s.URL, "SELECT 1")
}

func TestServerEndsWithItsKilledParentAndTheNextStartWaitsForIt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "postgres")
	up := exec.Command(os.Args[0])
	up.Env = append(os.Environ(), envDir+"="+dir)
	up.Stderr = os.Stderr
	_, err := up.StdinPipe()
	require.NoError(t, err)
	out, err := up.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, up.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	var url string
	var pid int
	_, err = fmt.Sscan(line, &url, &pid)
	require.NoError(t, err)
	exec1(t, url, "CREATE TABLE deal (id int); INSERT INTO deal VALUES (1)")

	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP)) // so that it is there when the next one comes
	require.NoError(t, up.Process.Kill())
	_ = up.Wait()
	started := make(chan *localpg.Server, 1)
	go func() {
		s, err := localpg.Start(t.Context(), localpg.Options{Dir: dir})
		if err != nil {
			t.Error(err)
		}
		started <- s
	}()
	require.Eventually(t, func() bool {
		log, err := os.ReadFile(dir + ".log")
		return err == nil && strings.Contains(string(log), "lock file")
	}, testkit.Patience, testkit.Look)
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	s := <-started
	require.NotNil(t, s)
	t.Cleanup(func() { _ = s.Stop() })
	require.Equal(t, 1, count(t, s.URL))
}

func TestStartThatPostgresRefusesIsOneSentenceAndFreesTheFolder(t *testing.T) {
	t.Parallel()
	root := folder(t)
	first := start(t, filepath.Join(root, "first"))
	other, err := pgx.ParseConfig(first.URL)
	require.NoError(t, err)
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	require.NoError(t, err)
	defer func() { _ = mute.Close() }()
	inUse := func(port int) string {
		return fmt.Sprintf("port %d is in use by another program: stop it, or use --ports auto", port)
	}
	dir := filepath.Join(root, "second")
	for _, c := range []struct {
		opts localpg.Options
		says string
	}{
		{localpg.Options{Port: mute.Addr().(*net.TCPAddr).Port}, inUse(mute.Addr().(*net.TCPAddr).Port)},
		{localpg.Options{Port: int(other.Port)}, inUse(int(other.Port))}, // its answer is not taken for ours
		{localpg.Options{Settings: []string{"fsync=perhaps"}}, `parameter "fsync" requires a Boolean value`},
	} {
		c.opts.Dir = dir
		_, err := localpg.Start(t.Context(), c.opts)
		require.ErrorContains(t, err, c.says)
		require.NotContains(t, err.Error(), "\n")
	}
	start(t, dir)
}

func TestInterruptedInitialisationIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "postgres")
	require.NoError(t, os.Mkdir(dir+".new", 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir+".new", "PG_VERSION"), []byte("15\n"), 0o600))
	exec1(t, start(t, dir).URL, "SELECT 1")
}

func TestFolderWithOtherFilesIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "postgres")
	require.NoError(t, os.Mkdir(dir, 0o755))
	thesis := filepath.Join(dir, "thesis.txt")
	require.NoError(t, os.WriteFile(thesis, nil, 0o600))
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: dir})
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "move away what is there, or use another --dir")
	require.FileExists(t, thesis)
}

func TestFullDiskIsOneSentence(t *testing.T) {
	t.Parallel()
	root := folder(t)
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=8m,mode=755"); err != nil {
		t.Skipf("SKIPPED: a full disk needs a small tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	dir := filepath.Join(root, "postgres")
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: dir})
	require.ErrorContains(t, err, "the disk of "+dir+" is full: free some space (100 MB) and start again")
}

func TestDiskThatFillsUpUnderAServerIsOneSentenceAndItStartsOnceThereIsRoom(t *testing.T) {
	t.Parallel()
	root := folder(t)
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=160m,mode=755"); err != nil {
		t.Skipf("SKIPPED: a full disk needs a small tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	dir := filepath.Join(root, "postgres")
	s := start(t, dir)
	exec1(t, s.URL, "CREATE TABLE deal (id int); INSERT INTO deal VALUES (1)")
	require.NoError(t, s.Kill()) // so that its start has to write
	filler := filepath.Join(root, "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	_, err = io.Copy(f, io.LimitReader(zeros{}, 1<<30))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	_, err = localpg.Start(t.Context(), localpg.Options{Dir: dir})
	require.ErrorContains(t, err, "the disk of "+dir+" is full: free some space (100 MB)")
	require.NotContains(t, err.Error(), "\n")
	require.NoError(t, os.Remove(filler))
	require.Equal(t, 1, count(t, start(t, dir).URL))
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestFolderThatTheAccountCannotEnterHasAStandIn(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root runs Postgres as another account")
	}
	home := t.TempDir()
	require.NoError(t, os.Chmod(home, 0o700))
	dir := filepath.Join(home, "postgres")
	s := start(t, dir)
	base := filepath.Dir(s.Data)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	require.True(t, strings.HasPrefix(base, "/var/tmp/conveyance-"), base)
	told, err := os.ReadFile(filepath.Join(dir, "where.txt"))
	require.NoError(t, err)
	require.Contains(t, string(told), base)
	exec1(t, s.URL, "CREATE TABLE deal (id int); INSERT INTO deal VALUES (1)")
	require.NoError(t, s.Stop())

	s = start(t, dir)
	require.Equal(t, 1, count(t, s.URL), "the same data again")
	require.NoError(t, s.Stop())

	require.NoError(t, os.RemoveAll(dir)) // as up --fresh does
	s = start(t, dir)
	exec1(t, s.URL, "CREATE TABLE deal (id int)")
	require.Zero(t, count(t, s.URL), "deleted with their folder")
	require.NoError(t, s.Stop())
}
