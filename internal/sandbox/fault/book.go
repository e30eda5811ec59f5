package fault

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"conveyance/internal/sandbox/world"
)

// faultsMax bounds the faults that wait at one vendor: each request looks at all of them.
const faultsMax = 1000

// Fault is one fault as control calls write and read it.
type Fault struct {
	N       int    `json:"n"`
	Account string `json:"account,omitempty"` // a tenant or tenant/account; empty = all
	Match   string `json:"match,omitempty"`   // method and path, or WEBHOOK and event; empty = all
	Times   *int   `json:"times,omitempty"`   // how often it still strikes; absent = until it is deleted
	Fault   string `json:"fault"`

	effect Effect
}

// Book is the faults of one vendor. It is safe for concurrent use.
type Book struct {
	mu     sync.Mutex
	last   int
	faults []Fault
}

// Add writes a fault down and returns it with its number. Of two faults that match a request the
// older strikes.
func (b *Book) Add(f Fault) (Fault, error) {
	effect, err := Parse(f.Fault)
	if err != nil {
		return Fault{}, err
	}
	if f.Times != nil && *f.Times < 1 {
		return Fault{}, errors.New("times is at least 1; leave it out for a fault that stays")
	}
	if strings.HasPrefix(f.Match, Webhook) && !effect.strikesWebhooks() && effect.Kind != Late {
		return Fault{}, errors.New("webhooks are struck by duplicate:N, reorder and late[:S]")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.faults) == faultsMax {
		return Fault{}, errors.New("there are too many faults already: delete some")
	}
	b.last++
	f.N, f.effect = b.last, effect
	b.faults = append(b.faults, f.clone())
	return f, nil
}

// Pick returns what strikes a request of an account, and counts it; false where nothing does. A
// request without a known account is struck only by faults for all.
func (b *Book) Pick(a world.Account, r *http.Request) (Effect, bool) {
	return b.pick(a, func(f *Fault) bool {
		return !f.effect.strikesWebhooks() && !strings.HasPrefix(f.Match, Webhook) && matches(f.Match, r)
	})
}

// Webhook returns what strikes a webhook of an account, and counts it.
func (b *Book) Webhook(a world.Account, event string) world.Strike {
	e, _ := b.pick(a, func(f *Fault) bool {
		return (f.Match == "" && f.effect.strikesWebhooks()) || (strings.HasPrefix(f.Match, Webhook) && glob(f.Match, Webhook+event))
	})
	return world.Strike{Copies: e.Code, Behind: e.Kind == Reorder, After: e.Wait}
}

// strikesWebhooks says whether the kind has no meaning for requests.
func (e Effect) strikesWebhooks() bool { return e.Kind == Duplicate || e.Kind == Reorder }

func (b *Book) pick(a world.Account, hit func(*Fault) bool) (Effect, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.faults {
		f := &b.faults[i]
		if !a.Matches(f.Account) || !hit(f) {
			continue
		}
		effect := f.effect
		if f.Times != nil {
			if *f.Times--; *f.Times == 0 {
				b.faults = slices.Delete(b.faults, i, i+1)
			}
		}
		return effect, true
	}
	return Effect{}, false
}

// Delete ends one fault and says whether it was there.
func (b *Book) Delete(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.faults)
	b.faults = slices.DeleteFunc(b.faults, func(f Fault) bool { return f.N == n })
	return len(b.faults) < before
}

// Clear ends all faults.
func (b *Book) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = nil
}

// All returns the faults that still strike.
func (b *Book) All() []Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Fault, len(b.faults))
	for i, f := range b.faults {
		out[i] = f.clone()
	}
	return out
}

func (f Fault) clone() Fault {
	if f.Times != nil {
		n := *f.Times
		f.Times = &n
	}
	return f
}
