package stream

import (
	"context"
	"maps"
	"slices"
	"time"

	"conveyance/internal/ledger"
	"conveyance/internal/observe"
)

// Who may stall a partition, each for itself.
const (
	stallRead  = "read"  // decoding, or reading the queue
	stallWork  = "work"  // the handler, producing, or committing
	stallLog   = "log"   // the stored offset or the topic
	stallRight = "right" // to read the topic
)

// stalled marks the partition as waiting for the world and waits a little; attempts are not spent.
// It returns false where the partition is being left.
func (p *partition) stalled(ctx context.Context, who string, n int, cause string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	p.setStall(who, cause, err)
	t := time.NewTimer(backoff(n, backoffBase, stallCap))
	defer t.Stop()
	select {
	case <-t.C:
		return !p.leaving()
	case <-p.leave:
		return false
	case <-ctx.Done():
		return false
	}
}

// setStall logs a stall once, when it begins.
func (p *partition) setStall(who, cause string, err error) {
	p.mu.Lock()
	began := p.stalls[who] != cause
	p.stalls[who] = cause
	p.mu.Unlock()
	if began {
		p.log().Error("partition.stall", observe.Cause(cause), observe.Err(err))
	}
}

func (p *partition) resumed(who string) {
	p.mu.Lock()
	cause, was := p.stalls[who]
	delete(p.stalls, who)
	p.mu.Unlock()
	if was {
		p.log().Info("partition.resumed", observe.Cause(cause))
	}
}

// stallCauses are what the partition waits for; none where it works.
func (p *partition) stallCauses() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Values(p.stalls))
}

// outside is why the log cannot be read from the stored offset; empty where it can.
func (p *partition) outside() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stalls[stallLog]
}

// settleForeign forgets the effects that are claimed no more.
func (p *partition) settleForeign(open map[ledger.ID]bool) {
	p.mu.Lock()
	n := len(p.foreign)
	for key, ids := range p.foreign {
		if ids = slices.DeleteFunc(ids, func(id ledger.ID) bool { return !open[id] }); len(ids) == 0 {
			delete(p.foreign, key)
		} else {
			p.foreign[key] = ids
		}
	}
	settled := len(p.foreign) < n
	p.mu.Unlock()
	if settled {
		p.nudge()
	}
}

func (p *partition) foreignIDs() []ledger.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Values(p.foreign))...)
}

func (p *partition) isForeign(keyID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.foreign[keyID]) > 0
}

// setHeld lets the pulse count what waits, and pages where a tenant has too much of it.
func (p *partition) setHeld(held map[ledger.Kind]int64, crowded []string) {
	for _, tenant := range crowded {
		p.log().Error("queue.crowded", observe.Tenant(tenant))
	}
	p.mu.Lock()
	p.held = held
	p.mu.Unlock()
}

func (p *partition) heldCounts() map[ledger.Kind]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

func (p *partition) addWish(w ledger.Wish) {
	p.mu.Lock()
	p.wishes = append(p.wishes, w)
	p.mu.Unlock()
	p.nudge()
}

func (p *partition) takeWishes() []ledger.Wish {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.wishes
	p.wishes = nil
	return w
}
