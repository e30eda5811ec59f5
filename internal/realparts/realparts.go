// Package realparts brings the software that a franchise runs, for tests, without Docker: jars from Maven
// Central and a Java to run them with, kept in the user's cache folder. Its folders kafka, registry, postgres
// and proxy start the parts. Nothing of it is in a release: tests, benchmarks and the fault lab call it.
package realparts

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Cache is the folder in which downloads are kept. It is made where it does not exist.
func Cache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the user's cache folder: %w", err)
	}
	dir := filepath.Join(base, "conveyance-real-parts")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // G301: programs of other accounts run from it
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	return dir, nil
}

// once returns the folder name of the cache, filled by fill where it is not there. Processes that ask for it
// at the same time wait for one download, and one that was cut leaves nothing that is taken for whole.
func once(name string, fill func(dir string) error) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("locking the cache of %s: %w", name, err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking the cache of %s: %w", name, err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part, err := os.MkdirTemp(cache, "."+name+"-")
	if err != nil {
		return "", fmt.Errorf("making the cache of %s: %w", name, err)
	}
	defer func() { _ = os.RemoveAll(part) }()
	if err := fill(part); err != nil {
		return "", fmt.Errorf("bringing %s: %w", name, err)
	}
	if err := os.Chmod(part, 0o755); err != nil { //nolint:gosec // G302: as above
		return "", err
	}
	return dir, os.Rename(part, dir)
}

// Free ports are looked for below the range from which the kernel gives outgoing connections theirs (32768
// and up on Linux), so that a part that is killed finds its port free when it is started again.
const (
	freePortMin   = 20000
	freePortMax   = 32000
	freePortTries = 200 // far more than a machine with half of the range in use needs
)

// FreePorts returns n ports of the loopback that nothing listens on.
func FreePorts(ctx context.Context, n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range freePortTries {
		if len(ports) == n {
			return ports, nil
		}
		at := freePortMin + rand.IntN(freePortMax-freePortMin) //nolint:gosec // G404: no secret
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", Loopback(at))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }() // all are held until each has its own
		ports = append(ports, at)
	}
	return nil, fmt.Errorf("finding %d free ports between %d and %d", n, freePortMin, freePortMax)
}

// Loopback is a port's address.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
