package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/term"

	"conveyance/consumers/timeline"
)

const (
	// tellEvery is how often the story looks for new steps.
	tellEvery = 200 * time.Millisecond
	// settleFor is how long a step waits for earlier ones, which another partition may show later.
	settleFor = 600 * time.Millisecond
	// storyAgainEvery is how often the vendors are told to go on with the story: one that was killed,
	// or whose disk was full, has stopped where it was. To one that goes on it says nothing.
	storyAgainEvery = 5 * time.Second
	// effectsFor is how many of the latest events are watched for their effects.
	effectsFor = 500
)

// storyLine is one step, as --json prints it.
type storyLine struct {
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
	Tenant string    `json:"tenant"`
	Deal   string    `json:"deal"`
	Step   string    `json:"step"`
	Line   string    `json:"line"`
	MS     int64     `json:"ms"` // since the deal's latest hint
}

// teller follows the timeline and the ledgers.
type teller struct {
	g       *globals
	pool    *pgxpool.Pool
	color   bool
	last    int64
	waiting []storyLine             // steps that are not told yet: earlier ones may still come
	hints   map[string]time.Time    // when a deal's latest hint came
	events  map[uuid.UUID]storyLine // events whose effects are awaited
	order   []uuid.UUID             // of events, the oldest first
	told    map[uuid.UUID][]string  // effects of events that were told
}

// tell begins the story at the simulated vendors and tells it until ctx ends.
func (s *stack) tell(ctx context.Context) error {
	if !s.cmd.Story {
		<-ctx.Done()
		return nil
	}
	var err error
	t := &teller{
		g: s.g, pool: s.pool, color: !s.g.JSON && isTerminal(s.g.out),
		hints: map[string]time.Time{}, events: map[uuid.UUID]storyLine{}, told: map[uuid.UUID][]string{},
	}
	if t.last, err = timeline.Last(ctx, t.pool, timelineSchema); err != nil {
		return err
	}
	if err := s.beginStory(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	again := time.NewTicker(storyAgainEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
			_ = s.beginStory(ctx) // vendors that are away are started again, and asked again
		case <-tick.C:
			if err := t.step(ctx); err != nil && ctx.Err() == nil {
				s.note("the story pauses: %v", err)
			}
		}
	}
}

func (s *stack) beginStory(ctx context.Context) error {
	body, err := json.Marshal(map[string]any{"seed": s.cmd.Seed, "deals": s.cmd.Deals, "per_second": s.cmd.PerSecond})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.up.Sandbox+"/_control/story", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("beginning the story: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusConflict { // told already
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("beginning the story: %s: %s", resp.Status, text)
	}
	return nil
}

// step reads what is new, and tells what is old enough for its order to be sure.
func (t *teller) step(ctx context.Context) error {
	entries, err := timeline.Since(ctx, t.pool, timelineSchema, t.last)
	if err != nil {
		return err
	}
	for _, e := range entries {
		t.last = e.ID
		l := storyLine{Kind: "story", At: e.At, Tenant: e.Tenant, Deal: e.DealKey, Step: e.Kind, Line: e.Line}
		if e.EventID != nil {
			t.await(*e.EventID, l)
		}
		t.waiting = append(t.waiting, l)
	}
	if err := t.effects(ctx); err != nil {
		return err
	}
	slices.SortStableFunc(t.waiting, func(a, b storyLine) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Deal, b.Deal), cmp.Compare(stepOrder[a.Step], stepOrder[b.Step]))
	})
	sure := time.Now().Add(-settleFor)
	for len(t.waiting) > 0 && t.waiting[0].At.Before(sure) {
		if err := t.say(t.waiting[0]); err != nil {
			return err
		}
		t.waiting = t.waiting[1:]
	}
	return nil
}

func (t *teller) await(id uuid.UUID, l storyLine) {
	t.events[id] = l
	t.order = append(t.order, id)
	if len(t.order) > effectsFor {
		delete(t.events, t.order[0])
		delete(t.told, t.order[0])
		t.order = t.order[1:]
	}
}

// effects adds the effects that are in place now. A call that is still under way is no step yet.
func (t *teller) effects(ctx context.Context) error {
	if len(t.order) == 0 {
		return nil
	}
	effects, err := effectsOf(ctx, t.pool, t.order)
	if err != nil {
		return err
	}
	for _, e := range effects {
		id, err := uuid.Parse(e.EventID)
		if err != nil {
			return err // it was made of one a moment ago
		}
		if e.state != stateApplied || slices.Contains(t.told[id], e.Line) {
			continue
		}
		t.told[id] = append(t.told[id], e.Line)
		of := t.events[id]
		t.waiting = append(t.waiting, storyLine{
			Kind: "story", At: e.At, Tenant: of.Tenant, Deal: of.Deal, Step: "effect", Line: e.Line,
		})
	}
	return nil
}

var (
	stepOrder  = map[string]int{"hint": 0, "fact": 1, "meaning": 2, "effect": 3}
	stepColors = map[string]string{"hint": "\x1b[90m", "fact": "\x1b[36m", "meaning": "\x1b[33m", "effect": "\x1b[32m"}
)

func (t *teller) say(l storyLine) error {
	if l.Step == timeline.Hint {
		t.hints[l.Deal] = l.At
	}
	since := ""
	if at, ok := t.hints[l.Deal]; ok && l.Step != timeline.Hint {
		l.MS = max(0, l.At.Sub(at).Milliseconds())
		since = fmt.Sprintf("+%d ms", l.MS)
	}
	return t.g.print(l, func(w io.Writer) {
		on, off := "", ""
		if t.color {
			on, off = stepColors[l.Step], "\x1b[0m"
		}
		_, _ = fmt.Fprintf(w, "%s  %-10s %s  %s%-7s%s %9s  %s\n",
			l.At.Local().Format("15:04:05.000"), l.Tenant, short(l.Deal), on, l.Step, off, since, l.Line)
	})
}

// short is enough of a deal key for a person to tell deals apart.
func short(key string) string {
	id := key[strings.LastIndexByte(key, '/')+1:]
	return id[:min(8, len(id))]
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
