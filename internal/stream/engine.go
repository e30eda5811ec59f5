package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"conveyance/internal/fault"
	"conveyance/internal/ledger"
	"conveyance/internal/observe"
	"conveyance/internal/postgres"
	"conveyance/internal/verdict"
)

// Engine runs one group: it claims partitions, reads them, and obeys its handler's verdicts.
type Engine struct {
	cfg   Config
	deps  Deps
	store *ledger.Store
	m     *metrics
	began time.Time // the zero of monotonic times
	lane  func(*session) lane

	mu    sync.Mutex
	state error    // why there is no session, nil where there is one
	sess  *session // the running one
}

// lane is how a session's partitions are worked on: batches or keys. add and remove are called for
// one partition at a time, and remove once.
type lane interface {
	add(p *partition)
	// remove finishes what is in hand and writes it, within limit; what then still is in hand is
	// given up as if the process had died.
	remove(p *partition, limit time.Duration)
	// sweep reads effects back that were sent after a read-back (protocol.md 36).
	sweep(due []ledger.Readback)
	close()
}

var (
	errJoining = errors.New("joining the group")
	// errReopen ends a session whose claim, or whose client, is of no use any more. Rejoining alone
	// would not claim the partitions anew that stay (protocol.md 5).
	errReopen = errors.New("opening the group anew")
)

// reopenAfter keeps two processes that take partitions from each other from doing so all the time.
const reopenAfter = 2 * time.Second

// NewBatch returns an engine that runs a batch handler.
func NewBatch(cfg Config, deps Deps, h BatchHandler) (*Engine, error) {
	return newEngine(cfg, deps, func(s *session) lane { return newBatches(s, h) })
}

// NewKeyed returns an engine that runs a keyed handler.
func NewKeyed(cfg Config, deps Deps, h KeyedHandler) (*Engine, error) {
	return newEngine(cfg, deps, func(s *session) lane { return newKeyed(s, h) })
}

func newEngine(cfg Config, deps Deps, lane func(*session) lane) (*Engine, error) {
	cfg, err := cfg.filled()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(deps.Metrics, cfg.Group)
	if err != nil {
		return nil, fmt.Errorf("registering metrics of %s: %w", cfg.Group, err)
	}
	deps.Log = deps.Log.With(zap.String("group", cfg.Group))
	return &Engine{
		cfg: cfg, deps: deps, store: ledger.Open(deps.Pool, cfg.Schema), m: m, began: time.Now(),
		lane: lane, state: errJoining,
	}, nil
}

// Run claims partitions and works on them until ctx ends. Then it stops polling, lets what is in
// flight finish within Config.DrainTimeout, writes it, leaves the group (a static member stays in
// it) and returns nil. It returns an error only where going on is of no use: another process runs
// under the same instance id. Everything else it waits out; Ready tells.
func (e *Engine) Run(ctx context.Context) error {
	for n := 1; ; n++ {
		ended := e.session(ctx)
		if errors.Is(ended, kerr.FencedInstanceID) {
			return fmt.Errorf(
				"running group %s: another process has instance id %s: %w",
				e.cfg.Group,
				e.cfg.InstanceID,
				ended,
			)
		}
		if ctx.Err() == nil {
			e.deps.Log.Warn("session.reopen", observe.Err(ended))
		}
		if !wait(ctx, backoff(n, backoffBase, reopenAfter)) {
			return nil
		}
	}
}

// session runs one session, and returns why it ended.
func (e *Engine) session(ctx context.Context) error {
	if err := fault.At("session.open"); err != nil {
		return err
	}
	s, err := e.open(ctx)
	if err != nil {
		return err
	}
	e.set(s, errJoining)
	err = s.run(ctx)
	e.set(nil, err)
	return err
}

func (e *Engine) set(s *session, state error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sess, e.state = s, state
}

func (e *Engine) joined() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state == nil
}

// Ready returns why the engine does not work on all of its partitions: each one that is stalled
// with its causes, or that the group was not joined. It returns nil where it works.
func (e *Engine) Ready() error {
	e.mu.Lock()
	s, state := e.sess, e.state
	e.mu.Unlock()
	if s != nil {
		if ill := s.ill.Load(); ill != nil { // a group that is not joined yet may wait for just that
			return fmt.Errorf("group %s: %s", e.cfg.Group, *ill)
		}
	}
	if state != nil || s == nil {
		return fmt.Errorf("group %s: %w", e.cfg.Group, state)
	}
	var stalls []string
	for _, p := range s.all() {
		if causes := p.stallCauses(); len(causes) > 0 {
			stalls = append(stalls, p.String()+": "+strings.Join(causes, ", "))
		}
	}
	if len(stalls) == 0 {
		return nil
	}
	slices.Sort(stalls)
	return fmt.Errorf("group %s is stalled: %s", e.cfg.Group, strings.Join(stalls, "; "))
}

// commit runs one numbered transaction. Where its outcome is unknown, or Postgres is busy or away,
// the same turn with the same numbers is tried again until it is known (protocol.md 6); note hears
// of each wait. An error says that nothing of the turn was written, or that ctx ended.
func (e *Engine) commit(ctx context.Context, t *ledger.Turn, note func(err error)) (ledger.Result, error) {
	unknown := false
	for n := 1; ; n++ {
		began := time.Now()
		res, err := e.store.Commit(ctx, t)
		if err == nil {
			e.m.flush.Observe(time.Since(began).Seconds())
			return res, nil
		}
		for _, fate := range res.Fates {
			// The compare of this try matched: no earlier try was committed, or ever will be.
			unknown = unknown && fate != ledger.Moved
		}
		unknown = unknown || postgres.IsUnknownCommit(err)
		err = postgres.Classify(err)
		if again := unknown || waitsForPostgres(err); !again || ctx.Err() != nil {
			return res, err
		}
		if !isMarked(err) {
			err = verdict.Stalled("postgres unavailable", err)
		}
		note(err)
		if !wait(ctx, backoff(n, backoffBase/5, stallCap)) {
			return res, err
		}
	}
}

func isMarked(err error) bool {
	_, marked := errors.AsType[*verdict.Error](err)
	return marked
}

// waitsForPostgres is true for what passes when Postgres is back, less busy, or migrated. A cut
// connection comes without a code of Postgres's.
func waitsForPostgres(err error) bool {
	switch v := verdict.Of(err); v.Kind {
	case verdict.Stall:
		return true
	case verdict.Retry:
		return v.Cause == "postgres busy" || postgresCut(err)
	case verdict.Done, verdict.Skip, verdict.Doubt, verdict.Hold, verdict.Park:
	}
	return false
}
