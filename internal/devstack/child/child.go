// Package child runs processes that die with the process that started them, however that one dies.
package child

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Spec is what to run.
type Spec struct {
	Path    string
	Args    []string
	Env     []string            // added to the parent's own
	Dir     string              // working folder; empty = the parent's
	Log     string              // file that stdout and stderr are appended to, mode 0600
	Account *syscall.Credential // nil = the parent's
	Death   syscall.Signal      // what the kernel sends the child when the parent dies
	// Say is called with each line that the child writes to file descriptor SayFD, while the child
	// lives; nil = the child has no such descriptor. It is the way out where the log's disk is full.
	Say func(line string)
}

// SayFD is the child's end of Spec.Say.
const SayFD = 3

// Process is a running child. It is safe for concurrent use.
type Process struct {
	PID  int
	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended, after done
}

// Start starts a child. The kernel ties the parent-death signal to the thread that forked, so that
// thread is kept for the child's life.
func Start(s Spec) (*Process, error) {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", s.Path, err)
	}
	cmd := exec.Command(s.Path, s.Args...) //nolint:gosec,noctx // our own binaries; a child ends by Stop, not by a context
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	cmd.Env = append(cmd.Environ(), s.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.Account, Setpgid: true, Pdeathsig: s.Death}
	heard, err := hear(cmd, s.Say)
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("starting %s: %w", s.Path, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		heard()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		_ = log.Close()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.Path, err)
	}
	p.PID = cmd.Process.Pid
	return p, nil
}

// hear gives the child a pipe to say lines into. The returned function closes the parent's copy of
// the child's end, once the child is started or will not be.
func hear(cmd *exec.Cmd, say func(string)) (started func(), err error) {
	if say == nil {
		return func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	cmd.ExtraFiles = []*os.File{w}
	go func() {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			say(lines.Text())
		}
		_ = r.Close()
	}()
	return func() { _ = w.Close() }, nil
}

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended; nil before it has, and after exit code 0.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Signal sends a signal; a child that has ended gets none.
func (p *Process) Signal(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig) // "already finished" is what the caller wanted
}

// Stop sends sig and waits until the child has ended. After within it is killed, which is an error.
func (p *Process) Stop(sig syscall.Signal, within time.Duration) error {
	p.Signal(sig)
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("process %d did not stop within %s and was killed", p.PID, within)
	}
}
