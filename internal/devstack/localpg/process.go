package localpg

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// process is a child that dies with its parent.
type process struct {
	pid  int
	cmd  *exec.Cmd
	done chan struct{}
}

// startProcess starts a child whose parent-death signal is SIGINT, Postgres's fast shutdown. The
// kernel ties that signal to the thread that forked, so the thread is kept for the child's life.
func startProcess(path string, args []string, logFile string, account *syscall.Credential) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // G304: our own folder
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", logFile, err)
	}
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // a found binary; it ends by stop, not by a context
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account, Setpgid: true, Pdeathsig: syscall.SIGINT}
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		_ = log.Close()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

func (p *process) stop(sig syscall.Signal, within time.Duration) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		<-p.done
		return nil //nolint:nilerr // it has ended already
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("pid %d did not stop within %s and was killed", p.pid, within)
	}
}

// unprivileged returns the account to run Postgres as: nil for one's own, and as root the postgres
// or nobody account, since initdb refuses root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // nil is the zero of SysProcAttr.Credential: oneself
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("postgres does not run as root, and neither account postgres nor nobody exists: run as another user, or give --postgres URL")
}
