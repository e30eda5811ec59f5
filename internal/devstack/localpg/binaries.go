package localpg

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	embedded "github.com/fergusstrange/embedded-postgres"
)

// binaries returns the folder that holds initdb and postgres: what is on the PATH, what the
// system's packages installed (the newest), else what embedded-postgres downloads once.
func binaries(opts Options) (string, error) {
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
	return download(opts)
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

// download has embedded-postgres fetch and unpack its binaries into a folder that every user of
// the machine may enter. It is started once for that and stopped at once: running it ourselves
// works as root too, and starts in a tenth of the time.
func download(opts Options) (string, error) {
	root := filepath.Join(os.TempDir(), fmt.Sprintf("conveyance-postgres-%d", os.Getuid()))
	bin := filepath.Join(root, "bin")
	if complete(bin) {
		return bin, nil
	}
	if opts.Progress != nil {
		_, _ = fmt.Fprintf(opts.Progress, "no Postgres installed: downloading one (15 MB, once) into %s\n", root)
	}
	cfg := embedded.DefaultConfig().BinariesPath(root).RuntimePath(filepath.Join(root, "run")).Logger(io.Discard)
	if opts.BinaryRepository != "" {
		cfg = cfg.BinaryRepositoryURL(opts.BinaryRepository)
	}
	pg := embedded.NewDatabase(cfg)
	err := pg.Start()
	if err == nil {
		_ = pg.Stop()
	}
	if complete(bin) { // as root its initdb refuses, but the binaries are there
		return bin, nil
	}
	return "", fmt.Errorf("no Postgres found and none downloaded; install PostgreSQL 15 or newer, or give --postgres URL: %w", err)
}
