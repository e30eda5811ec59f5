package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Owners own partitions: another process can take their place.
func Owners() []string {
	return []string{"fetch", "translate", "adapter followupboss", "adapter warehouse", "adapter timeline"}
}

// Stages may be killed and frozen; the simulated vendors are the outside world.
func Stages() []string { return append([]string{"ingest"}, Owners()...) }

// Groups are the consumer groups, which are their schemas too.
func Groups() []string {
	return []string{"fetch", "translate", "followupboss", "warehouse", "timeline"}
}

// Postmaster is the name of up's own Postgres among Children.
const Postmaster = "-D"

// Children are up's processes by command line ("adapter warehouse"), as the kernel sees them.
func (b *Bus) Children() map[string]int {
	found := map[string]int{}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", b.cmd.Process.Pid))
	var pids []string
	for _, file := range lists { // of each of its threads
		if text, err := os.ReadFile(file); err == nil {
			pids = append(pids, strings.Fields(string(text))...)
		}
	}
	for _, pid := range pids {
		line, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if err != nil {
			continue
		}
		args := strings.Split(string(line), "\x00")
		if len(args) < 3 {
			continue
		}
		name := args[1]
		if name == "adapter" {
			name += " " + args[2]
		}
		if n, err := strconv.Atoi(pid); err == nil {
			found[name] = n
		}
	}
	return found
}

// Signal sends a signal to a process of up, or to the real part in its place, if it runs just now.
func (b *Bus) Signal(name string, sig syscall.Signal) bool {
	if part := b.Parts[name]; part != nil {
		return part(sig)
	}
	pid, ok := b.Children()[name]
	return ok && syscall.Kill(pid, sig) == nil
}

// underWay is how long Kafka does not answer before a fault strikes.
const underWay = 200 * time.Millisecond

// Unanswered runs fn while Kafka does not answer: whatever stages have under way waits for its
// acknowledgement just then. Where Kafka is neither up's own nor one of Parts, fn just runs.
func (b *Bus) Unanswered(ctx context.Context, fn func()) {
	if !b.Signal("broker", syscall.SIGSTOP) {
		fn()
		return
	}
	Pause(ctx, underWay)
	fn()
	b.Signal("broker", syscall.SIGCONT)
}

const (
	// asleepMin and asleepSpread are how long a zombie sleeps: long enough for another process to start,
	// claim and work.
	asleepMin    = 1500 * time.Millisecond
	asleepSpread = time.Second
	// awakeFor is how long zombie and stand-in run side by side.
	awakeFor = time.Second
)

// Zombie freezes a stage, lets another process take its place and work, and wakes the frozen one.
func (b *Bus) Zombie(ctx context.Context, name string, r *rand.Rand) error {
	pid, ok := b.Children()[name]
	if !ok {
		return nil
	}
	b.Unanswered(ctx, func() { _ = syscall.Kill(pid, syscall.SIGSTOP) })
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	stand, err := b.StandIn(ctx, name)
	if err != nil {
		return err
	}
	Pause(ctx, asleepMin+time.Duration(r.Int64N(int64(asleepSpread))))
	_ = syscall.Kill(pid, syscall.SIGCONT)
	Pause(ctx, awakeFor)
	_ = stand.Process.Kill() // where the woken one did not fence it
	_ = stand.Wait()
	return nil
}

// StandIn starts another process of an owner, under the same name in its group, whose partitions it
// takes over. Its end is the caller's.
func (b *Bus) StandIn(ctx context.Context, name string) (*exec.Cmd, error) {
	args := append(strings.Fields(name), "--instance-id", "up-"+strings.ReplaceAll(name, " ", "-"))
	stand := exec.CommandContext(ctx, b.Exe, args...) //nolint:gosec // G204: the caller's own binary
	stand.Env = append(b.env(stand),
		"CONVEYANCE_DIR="+b.Dir, "CONVEYANCE_SEALING_KEY="+filepath.Join(b.Dir, "secrets", "sealing.key"),
		"CONVEYANCE_ALLOW_LOOPBACK=true", "CONVEYANCE_LOG_LEVEL=error")
	if err := stand.Start(); err != nil {
		return nil, fmt.Errorf("starting another %s: %w", name, err)
	}
	return stand, nil
}

// Command runs one of the operators' commands on the bus and returns what it prints.
func (b *Bus) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, b.Exe, append(args, "--dir", b.Dir)...) //nolint:gosec // G204: the caller's own binary
	out, err := cmd.Output()
	if err != nil {
		said := ""
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			said = string(exit.Stderr)
		}
		return string(out), fmt.Errorf("running conveyance %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return string(out), nil
}
