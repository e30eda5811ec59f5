package vendorhttp

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	// failuresInRow of one account open its breaker: fewer could be one bad connection.
	failuresInRow = 5
	// accountOpen is how long an account whose calls fail is left alone.
	accountOpen = 15 * time.Second
	// outageAccounts must fail with no success of anyone between for the vendor to count as down, and
	// more of them than went well within outageLook: the trouble of some never stops the others.
	outageAccounts = 2
	outageLook     = time.Minute
	// outageOpen is shorter than accountOpen, so that a failing account is not the vendor's probe.
	outageOpen = 5 * time.Second
)

// outcome is what a call says of the vendor's being up.
type outcome int

const (
	up       outcome = iota // it answered, whatever it said
	down                    // no answer, a broken or unreadable one, or 5xx
	notAsked                // the call was not made, or the caller gave up
)

var (
	errDown     = errors.New("vendor down")
	errNotAsked = errors.New("vendor not asked")
)

func (o outcome) err() error {
	switch o {
	case down:
		return errDown
	case notAsked:
		return errNotAsked
	default:
		return nil
	}
}

// outcomeOf a call that ended in an error.
func outcomeOf(ctx context.Context, err error) outcome {
	_, large := errors.AsType[*tooLargeError](err)
	switch {
	case large:
		return up
	case denied(err), errors.Is(err, errBadRequest), errors.Is(context.Cause(ctx), context.Canceled):
		return notAsked
	}
	return down
}

func answered(r Request, resp Response) outcome {
	garbled := r.Readable != nil && resp.Status >= 200 && resp.Status <= 299 && !r.Readable(resp.Body)
	if resp.Status >= 500 || garbled {
		return down
	}
	return up
}

// enter asks the account's gate, its breaker and the vendor's, in this order, and returns how to
// tell both breakers what came of the call.
func enter(g *gate, out *outage, a tenant.Account, now time.Time, claim time.Duration) (func(outcome, time.Time), error) {
	if err := g.open(a, now, claim); err != nil {
		return nil, err
	}
	own, err := g.failing.allow(a)
	if err != nil {
		g.undecided(now, now)
		return nil, err
	}
	all, err := out.allow(a)
	if err != nil {
		own(errNotAsked)
		g.undecided(now, now)
		return nil, err
	}
	return func(o outcome, started time.Time) {
		if o != up {
			g.undecided(started, time.Now())
		}
		own(o.err())
		all(o)
	}, nil
}

// failing is the breaker of one account.
type failing struct {
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	mu      sync.Mutex
	until   time.Time
}

func newFailing(a tenant.Account, m *metrics) *failing {
	f := &failing{}
	f.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     accountOpen,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failuresInRow },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNotAsked) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			m.breaker(a.Vendor, a.Key(), to == gobreaker.StateOpen)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.until = time.Now().Add(accountOpen)
		},
	})
	return f
}

func (f *failing) allow(a tenant.Account) (func(error), error) {
	done, err := f.breaker.Allow()
	if err == nil {
		return done, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, verdict.Held(scope(a), f.until, "vendor fails for this account", nil)
}

// outage is the breaker of a whole vendor.
type outage struct {
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	mu      sync.Mutex
	failed  map[string]bool      // accounts whose calls failed since anyone's success
	well    map[string]time.Time // accounts whose last call went well, and when
}

func newOutage(vendor string, m *metrics) *outage {
	o := &outage{failed: map[string]bool{}, well: map[string]time.Time{}}
	o.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout: outageOpen,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return c.ConsecutiveFailures >= failuresInRow && len(o.failed) >= max(outageAccounts, o.wellLately()+1)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNotAsked) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			m.breaker(vendor, "", to == gobreaker.StateOpen)
		},
	})
	return o
}

// wellLately forgets accounts that went well long ago, and counts the others. The caller holds mu.
func (o *outage) wellLately() int {
	now := time.Now()
	maps.DeleteFunc(o.well, func(_ string, at time.Time) bool { return now.Sub(at) > outageLook })
	return len(o.well)
}

func (o *outage) allow(a tenant.Account) (func(outcome), error) {
	done, err := o.breaker.Allow()
	if err != nil {
		return nil, verdict.Stalled("vendor "+a.Vendor+" is down", nil)
	}
	return func(what outcome) {
		o.mu.Lock()
		switch what {
		case up:
			clear(o.failed)
			o.well[a.Key()] = time.Now()
		case down:
			o.failed[a.Key()] = true
			delete(o.well, a.Key())
		case notAsked:
		}
		o.mu.Unlock()
		done(what.err())
	}, nil
}
