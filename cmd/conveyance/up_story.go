package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/term"

	"conveyance/consumers/timeline"
	"conveyance/internal/postgres"
)

const (
	// tellEvery is how often the story looks for new steps.
	tellEvery = 200 * time.Millisecond
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
	MS     int64     `json:"ms"` // since the deal's fact was read
}

// teller follows the timeline and the ledgers.
type teller struct {
	g      *globals
	pool   *pgxpool.Pool
	color  bool
	last   int64
	facts  map[string]time.Time    // when a deal's latest fact was read
	events map[uuid.UUID]storyLine // events whose effects are awaited
	order  []uuid.UUID             // of events, the oldest first
	told   map[string]bool         // effects that were told
}

// tell begins the story at the simulated vendors and tells it until ctx ends.
func (s *stack) tell(ctx context.Context) error {
	if !s.cmd.Story {
		<-ctx.Done()
		return nil
	}
	pool, err := postgres.Open(ctx, s.up.Postgres, "conveyance up")
	if err != nil {
		return err
	}
	defer pool.Close()
	t := &teller{
		g: s.g, pool: pool, color: !s.g.JSON && isTerminal(s.g.out),
		facts: map[string]time.Time{}, events: map[uuid.UUID]storyLine{}, told: map[string]bool{},
	}
	if t.last, err = timeline.Last(ctx, pool, timelineSchema); err != nil {
		return err
	}
	if err := s.beginStory(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
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

func (t *teller) step(ctx context.Context) error {
	entries, err := timeline.Since(ctx, t.pool, timelineSchema, t.last)
	if err != nil {
		return err
	}
	for _, e := range entries {
		t.last = e.ID
		l := storyLine{Kind: "story", At: e.At, Tenant: e.Tenant, Deal: e.DealKey, Step: e.Kind, Line: e.Line}
		if e.Kind == "fact" {
			t.facts[e.DealKey] = e.At
		}
		if e.EventID != nil {
			t.await(*e.EventID, l)
		}
		if err := t.say(l); err != nil {
			return err
		}
	}
	return t.effects(ctx)
}

func (t *teller) await(id uuid.UUID, l storyLine) {
	t.events[id] = l
	t.order = append(t.order, id)
	if len(t.order) > effectsFor {
		delete(t.events, t.order[0])
		t.order = t.order[1:]
	}
}

func (t *teller) effects(ctx context.Context) error {
	if len(t.order) == 0 {
		return nil
	}
	effects, err := effectsOf(ctx, t.pool, t.order)
	if err != nil {
		return err
	}
	for _, e := range effects {
		key := e.EventID + e.Line
		if t.told[key] {
			continue
		}
		t.told[key] = true
		id, err := uuid.Parse(e.EventID)
		if err != nil {
			return err // it was made of one a moment ago
		}
		of := t.events[id]
		if err := t.say(storyLine{Kind: "story", At: e.At, Tenant: of.Tenant, Deal: of.Deal, Step: "effect", Line: e.Line}); err != nil {
			return err
		}
	}
	return nil
}

var stepColors = map[string]string{"hint": "\x1b[90m", "fact": "\x1b[36m", "meaning": "\x1b[33m", "effect": "\x1b[32m"}

func (t *teller) say(l storyLine) error {
	if at, ok := t.facts[l.Deal]; ok {
		l.MS = max(0, l.At.Sub(at).Milliseconds())
	}
	return t.g.print(l, func(w io.Writer) {
		on, off := "", ""
		if t.color {
			on, off = stepColors[l.Step], "\x1b[0m"
		}
		_, _ = fmt.Fprintf(w, "%s  %-10s %s%-7s%s %5d ms  %s  %s\n", l.At.Local().Format("15:04:05.000"), l.Tenant, on, l.Step, off, l.MS, short(l.Deal), l.Line)
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
