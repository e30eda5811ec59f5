//go:build faults

package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// delayed is how long a delay takes: longer than the fence's age, a statement's and a call's deadline.
	delayed = 5 * time.Second
	// stopTakes is how long a signal to oneself may take until every thread stands still.
	stopTakes = 50 * time.Millisecond
)

// At is a crash point. Where the run that is armed for this process says so, its nth passage kills or
// stops the process, waits, or returns an error, which the caller treats as that place's own. Each run
// strikes once over all processes: an error as often in a row as the run says, everything else once.
func At(point string) error {
	a := armed()
	if a.dir == "" {
		return nil
	}
	r, ok := a.due(point)
	if !ok {
		return nil
	}
	switch r.fault {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-time.After(stopTakes)
	case "delay":
		<-time.After(delayed)
	case "error":
		return fmt.Errorf("passing %s: %w", point, errStruck)
	}
	return nil
}

var errStruck = errors.New("a test wants it to fail")

// armed is this process's memory of what its environment tells.
var armed = sync.OnceValue(func() *arms {
	return &arms{dir: os.Getenv("CONVEYANCE_FAULTS"), self: self(os.Args[1:]), passed: map[string]int{}, left: map[string]int{}}
})

// self names a process as plans do: adapter-warehouse.
func self(args []string) string {
	if len(args) > 1 && args[0] == "adapter" {
		return args[0] + "-" + args[1]
	}
	return strings.Join(args[:min(len(args), 1)], "")
}

type arms struct {
	dir  string
	self string

	mu     sync.Mutex
	passed map[string]int // by run
	left   map[string]int // errors that are still to come, by run
}

// run is a line of the plan: id, process, point, fault, nth passage, times.
type run struct {
	id, process, point, fault string
	nth, times                int
}

// due says whether a passage of a point is one that strikes. The plan is read at every passage: it
// changes while processes run.
func (a *arms) due(point string) (run, bool) {
	text, err := os.ReadFile(filepath.Join(a.dir, "plan"))
	if err != nil {
		return run{}, false
	}
	for line := range strings.Lines(string(text)) {
		r, ok := parse(line)
		if ok && r.process == a.self && r.point == point && a.passes(r) {
			return r, true
		}
	}
	return run{}, false
}

func parse(line string) (r run, ok bool) {
	f := strings.Fields(line)
	if len(f) != 6 {
		return r, false
	}
	r = run{id: f[0], process: f[1], point: f[2], fault: f[3]}
	var err, err2 error
	r.nth, err = strconv.Atoi(f[4])
	r.times, err2 = strconv.Atoi(f[5])
	return r, err == nil && err2 == nil
}

// passes counts, and leaves a mark by which the run strikes in one process and one life only.
func (a *arms) passes(r run) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passed[r.id]++
	switch n := a.passed[r.id]; {
	case n > r.nth && a.left[r.id] > 0:
		a.left[r.id]--
		return true
	case n != r.nth:
		return false
	}
	f, err := os.OpenFile(filepath.Join(a.dir, r.id+".reached"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	if _, err := fmt.Fprintf(f, "%s %s %s %d\n", r.process, r.point, r.fault, os.Getpid()); err != nil {
		return false
	}
	if r.fault == "error" {
		a.left[r.id] = r.times - 1
	}
	return true
}
