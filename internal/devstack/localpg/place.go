package localpg

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// standInRoot is where every account may enter and where files outlive a restart.
	standInRoot = "/var/tmp"
	// note stands in a data folder whose data lie elsewhere, and says where.
	note = "where.txt"
	// origin stands beside data that lie elsewhere, and names the folder that they stand in for.
	origin = "origin"
)

// place says where the data of dir lie: there, unless the account that must own them cannot enter
// the folders above, as in root's home or in a folder that holds secrets. Then they lie in
// /var/tmp/conveyance-<hash of dir>, and dir holds a note. Who deletes dir deletes the data: a
// stand-in whose note is gone is emptied.
func place(dir string, account *syscall.Credential) (string, error) {
	if account == nil || enterable(filepath.Dir(dir), account) {
		return dir, nil
	}
	sweep(standInRoot)
	sum := sha256.Sum256([]byte(dir))
	base := filepath.Join(standInRoot, "conveyance-"+hex.EncodeToString(sum[:])[:12])
	if _, err := os.Stat(filepath.Join(dir, note)); errors.Is(err, fs.ErrNotExist) {
		if err := os.RemoveAll(base); err != nil {
			return "", fmt.Errorf("removing the data of a deleted folder: %w", err)
		}
	}
	if err := claim(base, 0o711); err != nil { // root's, so that the account cannot plant links in it
		return "", err
	}
	if err := os.WriteFile(filepath.Join(base, origin), []byte(dir), 0o600); err != nil {
		return "", fmt.Errorf("naming the folder that %s stands in for: %w", base, err)
	}
	text := fmt.Sprintf("The Postgres data of this folder lie in\n%s\n"+
		"since the account that runs Postgres (uid %d) may not enter the folders above this one.\n"+
		"Delete this folder and they are deleted at the next start.\n", base, account.Uid)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the Postgres data folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, note), []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("noting where the Postgres data lie: %w", err)
	}
	return filepath.Join(base, "data"), nil
}

// sweep removes stand-ins whose folder was deleted, and in which no server runs.
func sweep(root string) {
	origins, err := filepath.Glob(filepath.Join(root, "conveyance-*", origin))
	if err != nil {
		return
	}
	for _, path := range origins {
		dir, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		base := filepath.Dir(path)
		_, gone := os.Stat(filepath.Join(string(dir), note))
		_, serving := os.Stat(filepath.Join(base, "data", "postmaster.pid"))
		if errors.Is(gone, fs.ErrNotExist) && errors.Is(serving, fs.ErrNotExist) {
			_ = os.RemoveAll(base)
		}
	}
}

// claim makes a folder of ours in a place where everybody may make one, or makes sure that what is
// there is that: no link, no stranger's, writable by nobody else.
func claim(dir string, perm fs.FileMode) error {
	err := os.Mkdir(dir, perm)
	if err == nil {
		return os.Chmod(dir, perm) // whatever the umask is
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", dir, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s belongs to somebody else, or others may write there: look at it and remove it", dir)
	}
	return nil
}

// enterable says whether the account may pass through dir and every folder above it, as far as
// their modes tell.
func enterable(dir string, account *syscall.Credential) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		bit := fs.FileMode(0o001)
		switch {
		case !ok:
			return false
		case stat.Uid == account.Uid:
			bit = 0o100
		case stat.Gid == account.Gid:
			bit = 0o010
		}
		if info.Mode().Perm()&bit == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// initialise makes a new cluster beside data and renames it, so that one that was interrupted is
// never taken for a whole one.
func initialise(ctx context.Context, bin, data string, account *syscall.Credential) error {
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		return nil
	}
	if err := syscall.Rmdir(data); err != nil && !errors.Is(err, fs.ErrNotExist) { // empty it may be, and not a file
		return fmt.Errorf("initialising Postgres in %s: %w: move away what is there, or use another --dir", data, err)
	}
	fresh := data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("removing an interrupted initialisation: %w", err)
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return fmt.Errorf("making the Postgres data folder: %w", err)
	}
	if account != nil {
		if err := os.Chown(fresh, int(account.Uid), int(account.Gid)); err != nil {
			return fmt.Errorf("giving the Postgres data folder to uid %d: %w", account.Uid, err)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), //nolint:gosec // G204: a found binary
		"-D", fresh, "-U", role, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(out.String())
		if strings.Contains(text, "No space left on device") {
			return fmt.Errorf("the disk of %s is full: free some space (100 MB) and start again", data)
		}
		return fmt.Errorf("initialising Postgres in %s: %w: %s", data, err, text[strings.LastIndexByte(text, '\n')+1:])
	}
	if err := os.Rename(fresh, data); err != nil {
		return fmt.Errorf("initialising Postgres in %s: %w", data, err)
	}
	return nil
}
