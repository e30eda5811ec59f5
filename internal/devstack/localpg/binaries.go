package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	embedded "github.com/fergusstrange/embedded-postgres"

	"conveyance/internal/devstack/dirlock"
)

// binaries returns the folder that holds initdb and postgres: what is on the PATH, what the
// system's packages installed (the newest), else what embedded-postgres downloads once.
func binaries(ctx context.Context, opts Options) (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if resolved, err := filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(resolved)) {
			return filepath.Dir(resolved), nil
		}
	}
	var found []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin", "/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("looking for Postgres in %s: %w", pattern, err)
		}
		found = append(found, matches...)
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	for _, dir := range found {
		if complete(dir) {
			return dir, nil
		}
	}
	return download(ctx, opts)
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// version is the first number in a path such as /usr/lib/postgresql/15/bin.
func version(dir string) int {
	digits := ""
	for _, r := range dir {
		if r >= '0' && r <= '9' {
			digits += string(r)
		} else if digits != "" {
			break
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// postgresVersion is what is downloaded.
const postgresVersion = embedded.V18

// download has embedded-postgres fetch and unpack its binaries, once for all of this account's
// folders, where every account may enter. Processes that want them at one time wait for the first.
func download(ctx context.Context, opts Options) (string, error) {
	root := filepath.Join(standInRoot, fmt.Sprintf("conveyance-postgres-%d", os.Getuid()))
	if err := claim(root, 0o755); err != nil {
		return "", err
	}
	lock, err := dirlock.Await(ctx, filepath.Join(root, "lock"))
	if err != nil {
		return "", fmt.Errorf("waiting for another download of Postgres: %w", err)
	}
	defer func() { _ = lock.Release() }()
	return fetch(ctx, opts, root, "")
}

// fetch puts the binaries below root, whole or not at all; cache is embedded-postgres's, empty for
// its default.
func fetch(ctx context.Context, opts Options, root, cache string) (string, error) {
	home := filepath.Join(root, string(postgresVersion))
	bin := filepath.Join(home, "bin")
	if complete(bin) {
		return bin, nil
	}
	if opts.Progress != nil {
		_, _ = fmt.Fprintf(opts.Progress, "no Postgres installed: downloading one (15 MB, once) into %s\n", home)
	}
	fresh := home + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return "", fmt.Errorf("removing an interrupted download: %w", err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return "", err
	}
	cfg := embedded.DefaultConfig().Version(postgresVersion).BinariesPath(fresh).
		Port(uint32(port)).RuntimePath(filepath.Join(root, "run")).Logger(io.Discard) //nolint:gosec // G115: a port
	if opts.BinaryRepository != "" {
		cfg = cfg.BinaryRepositoryURL(opts.BinaryRepository)
	}
	if cache != "" {
		cfg = cfg.CachePath(cache)
	}
	err = startAndStop(ctx, embedded.NewDatabase(cfg))
	if !complete(filepath.Join(fresh, "bin")) { // what else went wrong does not matter: as root it must
		return "", fmt.Errorf("no Postgres is installed, and downloading one did not work: "+
			"install PostgreSQL 15 or newer, or give --postgres URL: %w", errors.Join(err, ctx.Err()))
	}
	if err := os.Rename(fresh, home); err != nil {
		return "", fmt.Errorf("keeping the downloaded Postgres: %w", err)
	}
	return bin, os.RemoveAll(filepath.Join(root, "run"))
}

// startAndStop starts a server for the sake of the download that comes before, which knows no
// context and may hang for as long as the repository does.
func startAndStop(ctx context.Context, pg *embedded.EmbeddedPostgres) error {
	done := make(chan error, 1)
	go func() {
		err := pg.Start()
		if err == nil {
			err = pg.Stop()
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
