package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"conveyance/internal/tenant"
)

// progressAfter is how long a person waits without being told how far it is.
const progressAfter = time.Second

// progress tells how far something is, on one line, from progressAfter on. It is safe for concurrent use.
type progress struct {
	out   io.Writer
	what  string
	total int
	begun time.Time

	mu    sync.Mutex
	done  int
	told  bool
	first *time.Timer // tells where nothing is done for long
}

// progress of total steps, on stderr where that is a terminal.
func (g *globals) progress(what string, total int) *progress {
	if !isTerminal(g.errOut) {
		return &progress{out: io.Discard, total: total}
	}
	return newProgress(g.errOut, what, total)
}

func newProgress(out io.Writer, what string, total int) *progress {
	p := &progress{out: out, what: what, total: total, begun: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first = time.AfterFunc(progressAfter, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tell()
	})
	return p
}

// step is called after each step. The last one wipes the line.
func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if p.done < p.total && time.Since(p.begun) < progressAfter {
		return
	}
	if p.first != nil {
		p.first.Stop()
	}
	p.tell()
}

// tell is called under the lock.
func (p *progress) tell() {
	switch {
	case p.done < p.total:
		p.told = true
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s: %d of %d", p.what, p.done, p.total)
	case p.told:
		p.told = false
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// count makes each answer that tenants' accounts get a step.
func (g *globals) count(all []tenant.Tenant, ask map[string][]tenant.Checker) {
	questions := 0
	for _, t := range all {
		for _, a := range t.Accounts {
			questions += len(ask[a.Vendor])
		}
	}
	p := g.progress("asking the vendors", questions)
	for _, of := range ask {
		for i := range of {
			of[i] = counted{of[i], p}
		}
	}
}

// counted is a checker whose answers are steps.
type counted struct {
	tenant.Checker
	*progress
}

// Check is the checker's, counted.
func (c counted) Check(ctx context.Context, t tenant.Tenant, a tenant.Account) ([]tenant.Finding, error) {
	defer c.step()
	return c.Checker.Check(ctx, t, a)
}
