// Package quota counts requests in sliding windows, as the simulated vendors' limits do.
package quota

import (
	"sync"
	"time"
)

// Window is one limit: at most Limit requests in any Span. It is safe for concurrent use.
type Window struct {
	Limit int
	Span  time.Duration

	mu    sync.Mutex
	taken []time.Time // within Span, oldest first
}

// Left is what a request saw: how many more may follow, and after how long one may where none may.
type Left struct {
	OK        bool
	Remaining int
	After     time.Duration
}

// Take counts a request if it fits, and says what is left. A refused request is not counted.
func (w *Window) Take(now time.Time) Left {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(now)
	if len(w.taken) >= w.Limit {
		return Left{After: w.after(now)}
	}
	w.taken = append(w.taken, now)
	return Left{OK: true, Remaining: w.Limit - len(w.taken), After: w.after(now)}
}

// Used is how many requests the window holds now.
func (w *Window) Used(now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(now)
	return len(w.taken)
}

func (w *Window) forget(now time.Time) {
	n := 0
	for n < len(w.taken) && now.Sub(w.taken[n]) >= w.Span {
		n++
	}
	w.taken = w.taken[n:]
}

// after is when the oldest request leaves the window.
func (w *Window) after(now time.Time) time.Duration {
	if len(w.taken) == 0 {
		return 0
	}
	return w.Span - now.Sub(w.taken[0])
}

// Windows are windows by name, made when they are first used. It is safe for concurrent use.
type Windows struct {
	mu     sync.Mutex
	byName map[string]*Window
}

// Of returns the window of a name; limit and span count when it is made.
func (w *Windows) Of(name string, limit int, span time.Duration) *Window {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byName == nil {
		w.byName = map[string]*Window{}
	}
	if w.byName[name] == nil {
		w.byName[name] = &Window{Limit: limit, Span: span}
	}
	return w.byName[name]
}
