// Package sandbox is the simulated vendors: SkySlope and Follow Up Boss as they behave, credentials,
// quotas, quirks and all, with a life of their own (stories), ways to make them fail (faults), a
// journal of what they were asked, and a judge of what follows from what they hold (truth). It is
// for tests, demonstrations and customers; it shares no code with the product.
//
// A vendor's own paths lie below its name: /skyslope/auth/login. Control lies below /_control:
//
//	GET    /_control/{vendor}/requests?account=&after=   the journal: an array of Request, in order
//	POST   /_control/{vendor}/faults                     a fault: {"account","match","times","fault"}; 201 with its n
//	GET    /_control/{vendor}/faults                     the faults that still strike
//	DELETE /_control/{vendor}/faults[/{n}]               end all, or one
//	GET    /_control/{vendor}/{kind}?tenant=             every record of a kind
//	GET    /_control/{vendor}/{kind}/{id}?tenant=        one record
//	PUT    /_control/{vendor}/{kind}/{id}?tenant=        merge a JSON object into it, or make it
//	DELETE /_control/{vendor}/{kind}/{id}?tenant=        the vendor answers 404 from now on
//	POST   /_control/story                               {"seed","deals","per_second"}; 202, it goes on by itself
//	GET    /_control/story                               the stories told by this process: an array of Progress
//	GET    /_control/truth                               a truth.Truth
//
// account and tenant are a tenant's id or tenant/account; tenant may be left out where a vendor has
// one account. Errors are {"error":"…"}. Control has no credentials: serve it on loopback only.
//
// Records, and how far stories came, survive the process, kill -9 included, in the state file;
// journals and faults do not.
package sandbox

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

// Tenant is one brokerage of the simulated world.
type Tenant = world.Tenant

// Account is a brokerage's account at one vendor.
type Account = world.Account

// FUBConfig is what a tenant wants of its CRM.
type FUBConfig = world.FUBConfig

// Options are what a sandbox is made of.
type Options struct {
	// Tenants with their accounts. Two accounts at one vendor never share a key.
	Tenants []Tenant
	// Seed of a story that is asked for without one.
	Seed int64
	// TimeScale is how many times faster than ours the vendors' time passes: sessions end, quotas'
	// windows slide. 0 = 1.
	TimeScale float64
	// Clock is what the vendors' time is read from; nil = time.Now. Waits (slow, late, a story's
	// pace) are always in real time.
	Clock func() time.Time
	// Log is where failures of background work go; nil = nowhere.
	Log *zap.Logger
	// StateFile keeps the records over restarts; its folder is made. Empty = in memory only. One
	// process at a time.
	StateFile string
	// StrictDedupe makes deduplicate=true exact under concurrency, which no vendor promises.
	StrictDedupe bool
}

// Sandbox is the simulated vendors. It is safe for concurrent use.
type Sandbox struct {
	opts    Options
	records *records.Store
	desks   map[string]*desk
	handler http.Handler
	closing chan struct{}
	end     sync.Once
	work    sync.WaitGroup // stories and late requests
	stories stories
}

// New opens the vendors. Close must be called.
func New(o Options) (*Sandbox, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	store, err := records.Open(o.StateFile, o.Clock)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{opts: o, records: store, desks: map[string]*desk{}, closing: make(chan struct{})}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	s.handler = s.routes()
	return s, nil
}

func (s *Sandbox) open() error {
	base := world.Base{
		Tenants: s.opts.Tenants, Records: s.records, Clock: s.opts.Clock,
		TimeScale: s.opts.TimeScale, StrictDedupe: s.opts.StrictDedupe,
	}
	var names []string
	for _, make := range vendors() {
		v, err := make(base)
		if err != nil {
			return err
		}
		j, err := newJournal(v.Name, s.records)
		if err != nil {
			return err
		}
		names = append(names, v.Name)
		s.desks[v.Name] = &desk{Vendor: v, journal: j, clock: s.opts.Clock, closing: s.closing, late: &s.work}
	}
	return world.Check(s.opts.Tenants, names)
}

// Handler serves the vendors and their control.
func (s *Sandbox) Handler() http.Handler { return s.handler }

func (s *Sandbox) routes() http.Handler {
	mux := http.NewServeMux()
	for name, d := range s.desks {
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, d))
	}
	mux.Handle("/_control/", http.StripPrefix("/_control", s.control()))
	return mux
}

// Close ends stories, carries late requests out, and closes the state file. It frees requests that a
// fault holds; to end the others is the server's part, first. A second call does nothing.
func (s *Sandbox) Close() error {
	s.end.Do(func() { close(s.closing) })
	s.work.Wait()
	return s.records.Close()
}
