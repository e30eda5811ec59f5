// Package dirlock keeps a second process out of a data folder. The lock is the kernel's (flock): it
// ends with the process that holds it, however that one ends, and a stale file means nothing.
package dirlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// InUseError says who holds the folder.
type InUseError struct {
	Dir string
	PID string // "unknown" for the instant between a holder's lock and its note
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("data directory %s is in use by another up (pid %s): stop it or use --dir", e.Dir, e.PID)
}

// Lock is a held lock. Its file stays: removing it would let two processes lock two files of one name.
type Lock struct{ file *os.File }

// Take locks path, a file that it makes in the folder to protect and notes its own pid in. It does
// not wait: where another process, or another Lock of this one, holds it, the error is an
// *InUseError.
func Take(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	if err := lock(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	return &Lock{file: file}, nil
}

// awaitEvery is how often Await looks.
const awaitEvery = 100 * time.Millisecond

// Await is Take that waits for another holder until ctx ends.
func Await(ctx context.Context, path string) (*Lock, error) {
	for {
		l, err := Take(path)
		if _, inUse := errors.AsType[*InUseError](err); !inUse {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(awaitEvery):
		}
	}
}

// Release gives the folder free.
func (l *Lock) Release() error { return l.file.Close() }

func lock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return &InUseError{Dir: filepath.Dir(file.Name()), PID: holder(file.Name())}
	}
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", file.Name(), err)
	}
	return nil
}

func holder(path string) string {
	text, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}
