package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/story"
	"conveyance/internal/sandbox/world"
)

const (
	// perSecondDefault is a pace that a person can follow.
	perSecondDefault = 5
	// perSecondMax keeps two changes of one deal some milliseconds apart.
	perSecondMax = 500
)

// StoryOptions say which story is told, and how fast.
type StoryOptions struct {
	Seed int64
	// Deals is how many lives of deals the story has, up to story.DealsMax.
	Deals int
	// PerSecond is how many steps (mostly one change of one deal) happen in a second, up to 500;
	// 0 = 5.
	PerSecond float64
}

// Progress is how far a story has come.
type Progress struct {
	Seed      int64   `json:"seed"`
	Deals     int     `json:"deals"`
	PerSecond float64 `json:"per_second"`
	Steps     int     `json:"steps"`
	Done      int     `json:"done"`
	Running   bool    `json:"running"`
}

// stories are the stories that this process tells or told.
type stories struct {
	mu  sync.Mutex
	all []*Progress
}

// errTold is returned for a story that is being told already.
var errTold = errors.New("this story is being told already")

// Story tells a story to its end, and blocks until then, or until ctx or the sandbox ends. A story
// goes on where it was broken off, also by an earlier process; one that is over is not told again.
// The same tenants, seed and number of deals always make the same story.
func (s *Sandbox) Story(ctx context.Context, o StoryOptions) error {
	t, err := s.prepare(o)
	if err != nil {
		return err
	}
	return s.tell(ctx, t)
}

// telling is a story that is being told.
type telling struct {
	progress *Progress
	steps    []story.Step
}

func (s *Sandbox) prepare(o StoryOptions) (telling, error) {
	if o.PerSecond == 0 {
		o.PerSecond = perSecondDefault
	}
	switch {
	case o.Deals < 1 || o.Deals > story.DealsMax:
		return telling{}, fmt.Errorf("a story has 1 to %d deals, not %d", story.DealsMax, o.Deals)
	case !(o.PerSecond > 0 && o.PerSecond <= perSecondMax):
		return telling{}, fmt.Errorf("per_second lies above 0 and up to %d", perSecondMax)
	case len(world.Accounts(s.opts.Tenants, "skyslope")) == 0:
		return telling{}, errors.New("no tenant has a skyslope account to tell a story in")
	}
	p := &Progress{Seed: o.Seed, Deals: o.Deals, PerSecond: o.PerSecond, Running: true}
	s.stories.mu.Lock()
	defer s.stories.mu.Unlock()
	for i, other := range s.stories.all {
		if other.Seed != o.Seed || other.Deals != o.Deals {
			continue
		}
		if other.Running {
			return telling{}, errTold
		}
		s.stories.all = slices.Delete(s.stories.all, i, i+1)
		break
	}
	t := telling{progress: p, steps: story.Plan(s.opts.Tenants, o.Seed, o.Deals)}
	p.Steps, p.Done = len(t.steps), min(s.told(p), len(t.steps))
	s.stories.all = append(s.stories.all, p)
	return t, nil
}

// told is how many steps were told, by whichever process.
func (s *Sandbox) told(p *Progress) int {
	n, _ := s.records.Now().Get(p.key()).Body["done"].(json.Number)
	done, _ := n.Int64() // written by us
	return int(done)
}

func (p *Progress) key() records.Key {
	return records.Key{Kind: "story", ID: fmt.Sprintf("%d/%d", p.Seed, p.Deals)}
}

func (s *Sandbox) tell(ctx context.Context, t telling) error {
	defer s.mark(t.progress, func(p *Progress) { p.Running = false })
	tick := time.NewTicker(time.Duration(float64(time.Second) / t.progress.PerSecond))
	defer tick.Stop()
	for n := t.progress.Done; n < len(t.steps); n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return records.ErrClosed
		}
		if err := s.step(t.steps[n], t.progress.key(), n+1); err != nil {
			return fmt.Errorf("telling step %d of story %d: %w", n, t.progress.Seed, err)
		}
		s.mark(t.progress, func(p *Progress) { p.Done = n + 1 })
	}
	return nil
}

func (s *Sandbox) mark(p *Progress, change func(*Progress)) {
	s.stories.mu.Lock()
	defer s.stories.mu.Unlock()
	change(p)
}

// step applies a step and then remembers it. A process that dies in between applies it again, which
// changes nothing but the modified time.
func (s *Sandbox) step(changes story.Step, progress records.Key, done int) error {
	for _, c := range changes {
		accounts := world.Accounts(s.opts.Tenants, c.Vendor)
		a, err := world.Pick(accounts, c.Tenant+"/"+c.Account)
		if err != nil {
			return err
		}
		if _, err := s.desks[c.Vendor].Put(a, c.Kind, c.GUID, c.Patch); err != nil {
			return err
		}
	}
	_, err := s.records.Put(progress, func(records.Record, time.Time) (records.Change, error) {
		return records.Change{Body: map[string]any{"done": done}}, nil
	})
	return err
}

func (s *Sandbox) postStory(w http.ResponseWriter, r *http.Request) {
	in := struct {
		Seed      *int64  `json:"seed"`
		Deals     int     `json:"deals"`
		PerSecond float64 `json:"per_second"`
	}{Seed: &s.opts.Seed}
	if err := reply.Into(r, &in); err != nil {
		wrong(w, http.StatusBadRequest, err)
		return
	}
	if in.Seed == nil {
		in.Seed = &s.opts.Seed
	}
	t, err := s.prepare(StoryOptions{Seed: *in.Seed, Deals: in.Deals, PerSecond: in.PerSecond})
	switch {
	case errors.Is(err, errTold):
		wrong(w, http.StatusConflict, err)
		return
	case err != nil:
		wrong(w, http.StatusBadRequest, err)
		return
	}
	began := *t.progress // before anybody else writes to it
	ctx := context.WithoutCancel(r.Context())
	s.work.Go(func() {
		if err := s.tell(ctx, t); err != nil && !errors.Is(err, records.ErrClosed) {
			s.opts.Log.Error("story.broken", zap.Int64("seed", began.Seed), zap.NamedError("error", err))
		}
	})
	reply.JSON(w, http.StatusAccepted, began)
}

func (s *Sandbox) getStories(w http.ResponseWriter, _ *http.Request) {
	s.stories.mu.Lock()
	out := make([]Progress, len(s.stories.all))
	for i, p := range s.stories.all {
		out[i] = *p
	}
	s.stories.mu.Unlock()
	reply.JSON(w, http.StatusOK, out)
}
