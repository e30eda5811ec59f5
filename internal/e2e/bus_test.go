package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/judge"
	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
)

// bus is a running up in a process of its own, with every stage below it.
type bus struct {
	t    testing.TB
	exe  string
	dir  string
	cmd  *exec.Cmd
	pool *pgxpool.Pool
	errs *said
	info struct {
		Kafka       string `json:"kafka"`
		Registry    string `json:"registry"`
		Postgres    string `json:"postgres"`
		Sandbox     string `json:"sandbox"`
		HTTP        string `json:"http"`
		TopicPrefix string `json:"topic_prefix"`
		Tenants     map[string]struct {
			Accounts map[string]struct {
				Webhook string `json:"webhook"`
				Secret  string `json:"secret"`
			} `json:"accounts"`
		} `json:"tenants"`
	}
}

// on is the same bus in the hands of a subtest.
func (b *bus) on(t testing.TB) *bus {
	c := *b
	c.t = t
	return &c
}

// said is what up tells a person.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (b *bus) said() string {
	b.errs.mu.Lock()
	defer b.errs.mu.Unlock()
	return b.errs.text.String()
}

// environment of every stage: an unknown outcome is settled after 4 s, and a record is read again as
// soon as the simulated vendors' time allows, so that many kills end soon.
var quick = []string{"CONVEYANCE_CALL_DEADLINE=2s", "CONVEYANCE_VENDOR_LAG=1s", "CONVEYANCE_POLLING_RULE=9s"}

// start builds the binary, starts up on the test's own Postgres and waits until it is ready.
func start(t testing.TB) *bus {
	t.Helper()
	b := &bus{t: t, dir: filepath.Join(t.TempDir(), "bus"), errs: &said{}}
	b.exe = filepath.Join(t.TempDir(), "conveyance")
	build := exec.Command("go", "build", "-o", b.exe, "conveyance/cmd/conveyance")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	b.run(testkit.Database(t))
	b.pool, err = postgres.Open(t.Context(), b.info.Postgres, "e2e")
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)
	return b
}

// run starts up and reads its ready line.
func (b *bus) run(url string) {
	b.t.Helper()
	b.cmd = exec.Command(b.exe, "up", "--dir", b.dir, "--ports", "auto", "--no-story", "--json",
		"--postgres", url, "--time-scale", "100", "--poll-every", "200ms", "--log-level", "warn")
	b.cmd.Env = append(os.Environ(), quick...)
	b.cmd.Stderr = b.errs
	stdout, err := b.cmd.StdoutPipe()
	require.NoError(b.t, err)
	require.NoError(b.t, b.cmd.Start())
	b.t.Cleanup(func() { b.stop(syscall.SIGTERM) })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	require.NoError(b.t, err, "up said: %s", b.said())
	require.NoError(b.t, json.Unmarshal(line, &b.info))
}

func (b *bus) stop(sig syscall.Signal) {
	_ = b.cmd.Process.Signal(sig)
	_ = b.cmd.Wait()
	if b.t.Failed() {
		b.logs()
	}
}

// logs shows the last warnings of every stage.
func (b *bus) logs() {
	files, _ := filepath.Glob(filepath.Join(b.dir, "log", "*.log"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		b.t.Logf("%s:\n%s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
}

// children are up's processes by command line ("adapter warehouse"), as the kernel sees them.
func (b *bus) children() map[string]int {
	found := map[string]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(b.cmd.Process.Pid) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil {
			continue
		}
		args := strings.Split(string(line), "\x00")
		if len(args) < 2 {
			continue
		}
		name := args[1]
		if name == "adapter" {
			name += " " + args[2]
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil {
			found[name] = pid
		}
	}
	return found
}

// signal sends a signal to a process of up, if it runs just now.
func (b *bus) signal(name string, sig syscall.Signal) bool {
	pid, ok := b.children()[name]
	return ok && syscall.Kill(pid, sig) == nil
}

// unanswered runs fn while Kafka does not answer: whatever stages have under way waits for its
// acknowledgement just then.
func (b *bus) unanswered(ctx context.Context, fn func()) {
	if !b.signal("broker", syscall.SIGSTOP) {
		fn()
		return
	}
	pause(ctx, 200*time.Millisecond)
	fn()
	b.signal("broker", syscall.SIGCONT)
}

// zombie freezes a stage, lets another process take its place and work, and wakes the frozen one.
func (b *bus) zombie(ctx context.Context, name string, r *rand.Rand) {
	b.t.Helper()
	pid, ok := b.children()[name]
	if !ok {
		return
	}
	b.unanswered(ctx, func() { _ = syscall.Kill(pid, syscall.SIGSTOP) })
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	args := append(strings.Fields(name), "--instance-id", "up-"+strings.ReplaceAll(name, " ", "-"))
	stand := exec.CommandContext(ctx, b.exe, args...)
	stand.Env = append(append(os.Environ(), quick...),
		"CONVEYANCE_DIR="+b.dir, "CONVEYANCE_SEALING_KEY="+filepath.Join(b.dir, "secrets", "sealing.key"), "CONVEYANCE_ALLOW_LOOPBACK=true",
		"CONVEYANCE_LOG_LEVEL=error")
	require.NoError(b.t, stand.Start())
	pause(ctx, 1500*time.Millisecond+time.Duration(r.IntN(1000))*time.Millisecond)
	_ = syscall.Kill(pid, syscall.SIGCONT)
	pause(ctx, time.Second)
	_ = stand.Process.Kill() // where the woken one did not fence it
	_ = stand.Wait()
}

// pause lets the bus run for a while: faults need time between them, and no check depends on it.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// story begins a story at the simulated vendors.
func (b *bus) story(ctx context.Context, seed int64, deals, perSecond int) {
	b.t.Helper()
	b.control(ctx, http.MethodPost, "/story", fmt.Sprintf(`{"seed":%d,"deals":%d,"per_second":%d}`, seed, deals, perSecond), nil)
}

// control makes a call to the simulated vendors' control, and reads the answer where into is not nil.
func (b *bus) control(ctx context.Context, method, path, body string, into any) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, b.info.Sandbox+"/_control"+path, strings.NewReader(body))
	require.NoError(b.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Less(b.t, resp.StatusCode, http.StatusMultipleChoices, "%s %s", method, path)
	if into != nil {
		require.NoError(b.t, json.NewDecoder(resp.Body).Decode(into))
	}
}

// command runs one of the operators' commands and returns what it prints.
func (b *bus) command(ctx context.Context, args ...string) string {
	b.t.Helper()
	cmd := exec.CommandContext(ctx, b.exe, append(args, "--dir", b.dir)...)
	out, err := cmd.CombinedOutput()
	require.NoError(b.t, err, "conveyance %s: %s", strings.Join(args, " "), out)
	return string(out)
}

// told is true once every story is over.
func (b *bus) told(ctx context.Context) bool {
	var all []struct {
		Running bool `json:"running"`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.info.Sandbox+"/_control/story", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	if json.NewDecoder(resp.Body).Decode(&all) != nil || len(all) == 0 {
		return false
	}
	for _, s := range all {
		if s.Running {
			return false
		}
	}
	return true
}

// judge looks once.
func (b *bus) judge(ctx context.Context) (judge.Verdict, error) {
	bench := judge.Bench{Pool: b.pool, Sandbox: b.info.Sandbox, Ends: map[string]int64{}, Groups: map[string]string{}}
	rows, err := b.pool.Query(ctx, "SELECT name, schema FROM conveyance.consumer_group")
	if err != nil {
		return judge.Verdict{}, err
	}
	for rows.Next() {
		var name, schema string
		if err := rows.Scan(&name, &schema); err != nil {
			return judge.Verdict{}, err
		}
		bench.Groups[name] = schema
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.info.Kafka))
	if err != nil {
		return judge.Verdict{}, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx)
	if err != nil {
		return judge.Verdict{}, err
	}
	ends.Each(func(o kadm.ListedOffset) {
		bench.Ends[fmt.Sprintf("%s/%d", strings.TrimPrefix(o.Topic, b.info.TopicPrefix), o.Partition)] = o.Offset
	})
	return judge.Judge(ctx, bench)
}

// watch looks at every stored offset until stop, which returns each time that one fell: an owner
// that was fenced has written over its successor.
func (b *bus) watch(ctx context.Context) (stop func() []string) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var fell []string
	go func() {
		defer close(done)
		highest := map[string]int64{}
		for ctx.Err() == nil {
			for _, group := range groups {
				_ = b.offsets(ctx, group, func(place string, next int64) { // a Postgres that is busy is looked at again
					if next < highest[place] {
						fell = append(fell, fmt.Sprintf("%s fell from %d to %d", place, highest[place], next))
					}
					highest[place] = next
				})
			}
			pause(ctx, 20*time.Millisecond)
		}
	}()
	return func() []string {
		cancel()
		<-done
		return fell
	}
}

func (b *bus) offsets(ctx context.Context, group string, see func(place string, next int64)) error {
	rows, err := b.pool.Query(ctx, postgres.In(group, "SELECT topic, part, next_offset FROM {schema}.consumer_offsets WHERE next_offset IS NOT NULL"))
	if err != nil {
		return err
	}
	var topic string
	var part int32
	var next int64
	_, err = pgx.ForEachRow(rows, []any{&topic, &part, &next}, func() error {
		see(fmt.Sprintf("%s at %s/%d", group, topic, part), next)
		return nil
	})
	return err
}

// settle waits until the judge finds nothing, or nothing has changed for patience, and returns the
// last verdict. Meanwhile it does the part of the person at night.
func (b *bus) settle(ctx context.Context, patience time.Duration) judge.Verdict {
	b.t.Helper()
	var v judge.Verdict
	var err error
	seen, since := "", time.Now()
	for time.Since(since) < patience {
		if v, err = b.judge(ctx); err == nil && v.Clean() {
			return v
		}
		b.operate(ctx)
		if now := fmt.Sprint(v, err); now != seen {
			seen, since = now, time.Now()
		}
		pause(ctx, 500*time.Millisecond)
	}
	require.NoError(b.t, err, "judging")
	return v
}
