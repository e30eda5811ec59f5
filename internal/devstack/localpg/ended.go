package localpg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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

// ended says what became of a server by the last that it wrote.
func ended(opts Options, fatal string) error {
	if strings.Contains(fatal, "could not create any TCP/IP sockets") {
		return fmt.Errorf("port %d is in use by another program: stop it, or use --ports auto", opts.Port)
	}
	return &endedError{fatal: fatal}
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
