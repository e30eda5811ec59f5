// Package sandbox is the simulated vendors: SkySlope, Follow Up Boss and DocuSign as they behave, credentials,
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
//	GET    /_control/docusign/deliveries?account=&after= every webhook: an array of docusign.Delivery, in order
//	GET    /_control/docusign/keys?tenant=               the keys with which Connect signs for an account: {"keys":[…]}
//	PUT    /_control/docusign/keys?tenant=               other keys from now on; in their order they make the numbered headers
//	DELETE /_control/docusign/consent?tenant=            every token of the account dies, and none is given: invalid_grant, 401
//	PUT    /_control/docusign/consent?tenant=            tokens are given again; those that died stay dead
//	POST   /_control/story                               {"seed","deals","per_second"}; 202, it goes on by itself
//	GET    /_control/story                               the stories told by this process: an array of Progress
//	GET    /_control/truth                               a truth.Truth
//
// account and tenant are a tenant's id or tenant/account; tenant may be left out where a vendor has
// one account. Errors are {"error":"…"}. Control has no credentials: serve it on loopback only.
//
// Records, grants, and how far stories came, survive the process, kill -9 included, in the state file;
// journals, faults and webhooks that were not taken yet do not.
package sandbox

import (
	"context"
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
	// WebhookRetry is how long a webhook that was not taken waits for its next try, always in real
	// time; 0 = as the vendor's documentation says (DocuSign: a day), in the vendor's time.
	WebhookRetry time.Duration
	// AutoConsent says that whoever is asked for consent to OAuth gives it at once.
	AutoConsent bool
}

// Sandbox is the simulated vendors. It is safe for concurrent use.
type Sandbox struct {
	opts    Options
	records *records.Store
	desks   map[string]*desk
	handler http.Handler
	closing chan struct{}
	stop    context.CancelFunc // ends what the vendors do by themselves
	end     sync.Once
	work    sync.WaitGroup // stories, late requests, and what the vendors do by themselves
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
	ctx, stop := context.WithCancel(context.Background()) // a sandbox lives until Close, not as long as any call
	s.stop = stop
	for _, d := range s.desks {
		if d.Run != nil {
			s.work.Go(func() { d.Run(ctx) })
		}
	}
	return s, nil
}

func (s *Sandbox) open() error {
	base := world.Base{
		Tenants: s.opts.Tenants, Records: s.records, Clock: s.opts.Clock,
		TimeScale: s.opts.TimeScale, StrictDedupe: s.opts.StrictDedupe,
		WebhookRetry: s.opts.WebhookRetry, AutoConsent: s.opts.AutoConsent,
		Strike: func(a world.Account, event string) world.Strike { return s.desks[a.Vendor].faults.Webhook(a, event) },
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

// Close ends stories and webhooks, carries late requests out, and closes the state file. It frees requests that a
// fault holds; to end the others is the server's part, first. A second call does nothing.
func (s *Sandbox) Close() error {
	s.end.Do(func() {
		close(s.closing)
		s.stop()
	})
	s.work.Wait()
	return s.records.Close()
}
