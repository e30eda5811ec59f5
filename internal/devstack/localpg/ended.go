package localpg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// errEnded stands for a server that ended before it answered; the log says why.
var errEnded = errors.New("it ended at once")

// endedError tells what the server wrote last before it ended.
type endedError struct{ fatal string }

func (e *endedError) Error() string {
	if e.fatal == "" {
		return errEnded.Error()
	}
	return errEnded.Error() + ": " + e.fatal
}

// predecessor says whether a server before this one was still there: one that is shutting down, or
// backends of a killed one. Postgres refuses to start beside them, and rightly.
func (e *endedError) predecessor() bool {
	return strings.Contains(e.fatal, "lock file") || strings.Contains(e.fatal, "is still in use")
}

// freeMin is what Postgres cannot start below: two of its log's files of 16 MB, of which it may have
// freed one as it gave up.
const freeMin = 32 << 20

// ended says what became of a server by the last that it wrote. On a full disk that may be nothing: its
// log lies there too, and it is another of its processes that finds no room.
func ended(opts Options, data, fatal string) error {
	switch {
	case strings.Contains(fatal, "could not create any TCP/IP sockets"):
		return fmt.Errorf("port %d is in use by another program: stop it, or use --ports auto", opts.Port)
	case strings.Contains(fatal, "No space left on device"), fatal == "" && free(data) < freeMin:
		return fmt.Errorf("the disk of %s is full: free some space (100 MB)", data)
	}
	return &endedError{fatal: fatal}
}

// free is the room on dir's disk for others than root, in bytes; a disk that does not say has enough.
func free(dir string) uint64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return freeMin
	}
	return s.Bavail * uint64(s.Bsize) //nolint:gosec // G115: a block's size
}

// logBytesMax bounds what is read of a log for one sentence.
const logBytesMax = 64 << 10

func size(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}

// fatal is the first FATAL line that process pid wrote after from, with its hint; empty where there
// is none. Backends of an earlier server may write to the same log meanwhile.
func fatal(file string, from int64, pid int) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.NewSectionReader(f, from, logBytesMax))
	if err != nil {
		return ""
	}
	said := func(level string) string {
		_, rest, _ := strings.Cut(string(text), fmt.Sprintf("[%d] %s:", pid, level))
		line, _, _ := strings.Cut(rest, "\n")
		return strings.TrimSpace(line)
	}
	if hint := said("HINT"); hint != "" {
		return said("FATAL") + " (" + hint + ")"
	}
	return said("FATAL")
}
