package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"conveyance/avro/topic"
	"conveyance/internal/devstack"
	"conveyance/internal/observe"
)

type upCmd struct {
	Fresh              bool          `help:"Begin anew: delete what an earlier run left in --dir."`
	Ports              string        `help:"fixed: Kafka 9092, registry 8081, HTTP 8080, sandbox 8090, Postgres 15432. auto: free ones, kept for the next run." enum:"fixed,auto" default:"fixed"`
	StaticMembers      bool          `help:"Static group membership: a killed stage resumes in milliseconds." default:"true" negatable:""`
	Story              bool          `help:"Let deals live at the simulated vendors, and tell what becomes of them." default:"true" negatable:""`
	Seed               int64         `help:"Seed of the story: the same seed is the same deals." default:"7"`
	Deals              int           `help:"Deals that the story begins." default:"200"`
	PerSecond          float64       `help:"Changes a second at the simulated vendors." default:"1"`
	TimeScale          float64       `help:"How much faster time runs at the simulated vendors (sessions, retry schedules)." default:"1"`
	PostgresRepository string        `help:"Maven repository from which Postgres is downloaded where none is installed." placeholder:"URL"`
	PollEvery          time.Duration `help:"How often an account is polled whose vendor sends no webhooks." default:"1s"`
}

// Help is shown by up --help.
func (upCmd) Help() string {
	return `The first start makes two invented brokerages in <dir>/tenants; a later start goes on where the last one stopped, also after kill -9.

Example: conveyance up --seed 11

Then, in another terminal: conveyance status; conveyance trace lakeshore/; conveyance demo kill`
}

// stack is what up has started, in the order of starting.
type stack struct {
	cmd      *upCmd
	g        *globals
	log      *zap.Logger
	sup      *devstack.Supervisor
	postgres *localPostgres // nil where a flag names another
	pool     *pgxpool.Pool
	ports    ports
	up       upFile
	tenants  string // folder of the tenant files
	stages   []string

	file, noting sync.Mutex // up.json, and the terminal, are written by one at a time
}

const (
	// stageReadyWithin is how long a stage may take to be ready; on a quiet machine it is 1 s.
	stageReadyWithin = 60 * time.Second
	readyLookEvery   = 50 * time.Millisecond
)

// Run starts everything, tells the story until ctx ends, and stops everything.
func (c *upCmd) Run(ctx context.Context, g *globals) (err error) {
	started := time.Now()
	g.TopicPrefix = cmp.Or(g.TopicPrefix, topic.PrefixDefault)
	if c.Fresh {
		if err := removeStack(g.Dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(g.Dir, 0o700); err != nil {
		return fmt.Errorf("making --dir: %w", err)
	}
	unlock, err := lockDir(g.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := c.newStack(ctx, g)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	if err := s.start(ctx, started); err != nil {
		if ctx.Err() != nil {
			return nil // a Ctrl-C; whatever it cut short is no news
		}
		return err
	}
	return s.tell(ctx)
}

func (s *stack) start(ctx context.Context, began time.Time) error {
	if err := s.startParts(ctx); err != nil {
		return err
	}
	if err := s.timed("stages", func() error { return s.startStages(ctx) })(); err != nil {
		return err
	}
	if err := s.timed("webhooks", func() error { return s.connect(ctx) })(); err != nil {
		return err
	}
	return s.announce(began)
}

func (c *upCmd) newStack(ctx context.Context, g *globals) (*stack, error) {
	log, err := g.logger("up")
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this binary: %w", err)
	}
	sup, err := devstack.NewSupervisor(exe, g.Dir, log)
	if err != nil {
		return nil, err
	}
	p, err := choosePorts(ctx, g.Dir, c.Ports)
	if err != nil {
		return nil, err
	}
	s := &stack{cmd: c, g: g, log: log, sup: sup, ports: p}
	sup.Said = func(_, line string) { s.note("%s", line) }
	sup.Restarted = s.restarted
	return s, nil
}

// note writes a line of progress where a person looks; with --json stdout stays exact.
func (s *stack) note(format string, args ...any) {
	s.noting.Lock()
	defer s.noting.Unlock()
	_, _ = fmt.Fprintf(s.g.errOut, format+"\n", args...)
}

func (s *stack) startStages(ctx context.Context) error {
	for _, name := range stageNames() {
		if err := s.sup.Keep(name, s.args(name), s.env()); err != nil {
			return err
		}
		s.stages = append(s.stages, name)
	}
	ctx, cancel := context.WithTimeout(ctx, stageReadyWithin)
	defer cancel()
	for _, name := range s.stages {
		if err := s.awaitReady(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// args are a stage's own.
func (s *stack) args(name string) []string {
	if name == "ingest" { // up's one public port
		return []string{"--listen", s.ports.addr(s.ports.HTTP)}
	}
	args := []string{"--listen", "127.0.0.1:0"}
	if s.cmd.StaticMembers {
		args = append(args, "--instance-id", "up-"+strings.ReplaceAll(name, " ", "-"))
	}
	if name == "fetch" {
		args = append(args, "--poll-every", s.cmd.PollEvery.String(), "--polling-rule", s.pollingRule().String())
	}
	return args
}

// pollingRule is DocuSign's, in the simulated vendors' time.
func (s *stack) pollingRule() time.Duration {
	const docusign = 15 * time.Minute
	return time.Duration(float64(docusign) / max(1, s.cmd.TimeScale))
}

// env is what every stage finds its surroundings by.
func (s *stack) env() []string {
	return append(s.g.env(),
		"CONVEYANCE_KAFKA="+s.up.Kafka, "CONVEYANCE_REGISTRY="+s.up.Registry,
		"CONVEYANCE_POSTGRES="+s.up.Postgres, "CONVEYANCE_TOPIC_PREFIX="+s.g.TopicPrefix,
		"CONVEYANCE_DIR="+s.g.Dir, "CONVEYANCE_LOG_LEVEL="+s.g.LogLevel,
		"CONVEYANCE_SEALING_KEY="+s.sealingKeyFile(), "CONVEYANCE_ALLOW_LOOPBACK=true",
		"CONVEYANCE_PUBLIC_URL="+s.up.HTTP,
		memoryLimit(),
	)
}

// memoryLimit keeps each process small on one machine: the collector works harder before it grows past
// it. A GOMEMLIMIT of up's own environment is every process's, for runs whose broker and vendors grow.
func memoryLimit() string { return "GOMEMLIMIT=" + cmp.Or(os.Getenv("GOMEMLIMIT"), "100MiB") }

func (s *stack) sealingKeyFile() string { return filepath.Join(s.g.Dir, "secrets", "sealing.key") }

// announce writes up.json and the ready line.
func (s *stack) announce(started time.Time) error {
	s.file.Lock()
	s.up.Kind, s.up.TopicPrefix, s.up.PID, s.up.Processes = "ready", s.g.TopicPrefix, os.Getpid(), s.sup.PIDs()
	up := s.up
	s.file.Unlock()
	if err := s.writeUpFile(); err != nil {
		return err
	}
	return s.g.print(up, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "\nready in %.1f s\n  Kafka     %s   topics %s*\n  registry  %s\n  Postgres  %s\n  vendors   %s\n  webhooks  %s/in/<vendor>/<token>\n  logs      %s\n\n",
			time.Since(started).Seconds(), s.up.Kafka, s.up.TopicPrefix, s.up.Registry, s.up.Postgres, s.up.Sandbox, s.up.HTTP, filepath.Join(s.g.Dir, "log"))
	})
}

func (s *stack) writeUpFile() error {
	s.file.Lock()
	defer s.file.Unlock()
	text, err := json.Marshal(s.up)
	if err != nil {
		return fmt.Errorf("writing up.json: %w", err)
	}
	path := filepath.Join(s.g.Dir, "up.json")
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing up.json: %w", err)
	}
	return os.Rename(path+".new", path)
}

// restarted notes the new process of a name in up.json, where up runs already and runs still.
func (s *stack) restarted(string, int) {
	s.file.Lock()
	ready := s.up.PID != 0
	if ready {
		s.up.Processes = s.sup.PIDs()
	}
	s.file.Unlock()
	if !ready {
		return
	}
	if err := s.writeUpFile(); err != nil {
		s.log.Warn("up.file", observe.Err(err))
	}
}

// stop ends the stages first, so that they drain into what is still there, then the rest.
func (s *stack) stop(ctx context.Context) error {
	s.file.Lock()
	s.up.PID = 0
	_ = os.Remove(filepath.Join(s.g.Dir, "up.json")) // nobody finds what is no longer there
	s.file.Unlock()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stageReadyWithin)
	defer cancel()
	s.sup.Stop(limit, s.stages...)
	s.sup.Stop(limit)
	if s.pool != nil {
		s.pool.Close()
	}
	if s.postgres != nil {
		return s.postgres.stop()
	}
	return nil
}
