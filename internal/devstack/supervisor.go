// Package devstack is what up adds to the product: it keeps the stages running as processes of
// their own on one machine, and holds the two brokerages that the demonstration plays with. The
// embedded broker, registry and Postgres are its subfolders.
package devstack

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"conveyance/internal/devstack/child"
	"conveyance/internal/observe"
)

const (
	// stopWithin is how long a stage may take to drain; its own drain timeout is 8 s. The rest of the
	// 10 s after a Ctrl-C is for the servers, which stop after the stages.
	stopWithin = 8500 * time.Millisecond
	// restartAfterMin and restartAfterMax bound the wait before a stage that ended is started
	// again: at once after a kill, slowly where it ends again and again.
	restartAfterMin = 50 * time.Millisecond
	restartAfterMax = 5 * time.Second
	// steadyAfter is how long a stage must have lived for its next restart to be at once: past its start.
	steadyAfter = 3 * time.Second
)

// Supervisor keeps children running until it is stopped. It is safe for concurrent use.
type Supervisor struct {
	// Said hears each line that a child writes to its file descriptor child.SayFD, and Restarted of
	// each child that was started again. Both are set before the first Keep.
	Said      func(name, line string)
	Restarted func(name string, pid int)

	exe string // this binary
	dir string // logs go to dir/log/<name>.log
	log *zap.Logger

	mu       sync.Mutex
	running  map[string]*child.Process
	stopping bool
	wg       sync.WaitGroup
}

// NewSupervisor runs children of exe with logs below dir.
func NewSupervisor(exe, dir string, log *zap.Logger) (*Supervisor, error) {
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o700); err != nil {
		return nil, fmt.Errorf("making the log folder: %w", err)
	}
	return &Supervisor{
		exe: exe, dir: dir, log: log, running: map[string]*child.Process{},
		Said: func(string, string) {}, Restarted: func(string, int) {},
	}, nil
}

// LogOf is the file that a child's output goes to.
func (s *Supervisor) LogOf(name string) string {
	return filepath.Join(s.dir, "log", strings.ReplaceAll(name, " ", "-")+".log")
}

// Keep starts the command line name ("adapter warehouse") with args, and again whenever it ends.
func (s *Supervisor) Keep(name string, args, env []string) error {
	spec := child.Spec{
		Path: s.exe, Args: append(strings.Fields(name), args...), Env: env,
		Log: s.LogOf(name), Death: syscall.SIGKILL, Say: func(line string) { s.Said(name, line) },
	}
	p, err := child.Start(spec)
	if err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	s.mu.Lock()
	s.running[name] = p
	s.mu.Unlock()
	s.wg.Go(func() { s.watch(name, spec, p) })
	return nil
}

func (s *Supervisor) watch(name string, spec child.Spec, p *child.Process) {
	wait, started := restartAfterMin, time.Now()
	for {
		<-p.Done()
		if time.Since(started) > steadyAfter {
			wait = restartAfterMin
		}
		s.mu.Lock()
		stopping := s.stopping
		s.mu.Unlock()
		if stopping {
			return
		}
		s.log.Warn("process.ended", zap.String("process", name), observe.Err(p.Err()), observe.Duration(time.Since(started)))
		time.Sleep(wait) //nolint:forbidigo // a restart's back-off; Stop does not wait for longer than it
		wait = min(wait*2, restartAfterMax)

		s.mu.Lock()
		if s.stopping {
			s.mu.Unlock()
			return
		}
		next, err := child.Start(spec)
		if err == nil {
			p, started = next, time.Now()
			s.running[name] = p
		}
		s.mu.Unlock()
		if err != nil {
			s.log.Error("process.start", zap.String("process", name), observe.Err(err))
			continue
		}
		s.Restarted(name, p.PID)
	}
}

// PIDs are the children that run now, by name.
func (s *Supervisor) PIDs() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	pids := make(map[string]int, len(s.running))
	for name, p := range s.running {
		pids[name] = p.PID
	}
	return pids
}

// Stop ends the named children with SIGTERM, side by side, and waits for them; without names, all
// that are left. From the first Stop on nothing is started again. Where ctx ends, as by a second
// Ctrl-C, what still runs is killed.
func (s *Supervisor) Stop(ctx context.Context, names ...string) {
	s.mu.Lock()
	s.stopping = true
	running := maps.Clone(s.running)
	s.mu.Unlock()
	var wg sync.WaitGroup
	for name, p := range running {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		wg.Go(func() {
			within := stopWithin
			if ctx.Err() != nil {
				within = 0
			}
			if err := p.Stop(syscall.SIGTERM, within); err != nil {
				s.log.Warn("process.killed", zap.String("process", name), observe.Err(err))
			}
		})
	}
	wg.Wait()
	if len(names) == 0 {
		s.wg.Wait()
	}
}
