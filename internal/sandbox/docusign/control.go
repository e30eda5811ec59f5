package docusign

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// deliveriesMax is how many deliveries are remembered at least.
const deliveriesMax = 20_000

// States of a delivery.
const (
	waiting  = "waiting"  // not tried yet
	sent     = "sent"     // taken with 2xx
	retrying = "retrying" // not taken, tried again
	failed   = "failed"   // not taken, and not tried again by itself
	dropped  = "dropped"  // its configuration is gone or off
)

// Delivery is one event for one configuration, as control calls show it.
type Delivery struct {
	N          int64     `json:"n"`
	At         time.Time `json:"at"`      // of the event
	Account    string    `json:"account"` // tenant/account
	Config     string    `json:"config"`
	Envelope   string    `json:"envelope"`
	Event      string    `json:"event"`
	Recipient  string    `json:"recipient,omitempty"` // the recipientId that the event is about
	URL        string    `json:"url"`
	Status     string    `json:"status"`
	Attempts   int       `json:"attempts"`
	Copies     int       `json:"copies,omitempty"` // sent beyond its attempts, for a fault
	HTTPStatus int       `json:"http_status"`      // of the last attempt; 0 = not answered
	Error      string    `json:"error,omitempty"`
	BodySHA256 string    `json:"body_sha256"` // of the last attempt

	caller world.Account
}

func (d Delivery) failing() bool { return d.Status == failed || d.Status == retrying }

// log is the deliveries, in memory. It is safe for concurrent use.
type log struct {
	mu   sync.Mutex
	all  []Delivery // numbers follow each other
	last int64
}

func (l *log) add(d Delivery) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	d.N = l.last
	if len(l.all) >= deliveriesMax+deliveriesMax/4 {
		l.all = slices.Clone(l.all[len(l.all)-deliveriesMax:])
	}
	l.all = append(l.all, d)
	return d.N
}

func (l *log) change(n int64, change func(*Delivery)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) > 0 && n >= l.all[0].N {
		change(&l.all[n-l.all[0].N])
	}
}

// since returns the deliveries of an account with numbers above after, in order.
func (l *log) since(account string, after int64) []Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Delivery{}
	for _, d := range l.all {
		if d.N > after && d.caller.Matches(account) {
			out = append(out, d)
		}
	}
	return out
}

func (s *api) control() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET deliveries": s.getDeliveries,
		"GET keys":       s.at(func(w http.ResponseWriter, _ *http.Request, a world.Account) { answerKeys(w, s.keys(a)) }),
		"PUT keys":       s.at(s.putKeys),
		"PUT consent":    s.at(s.putConsent(true)),
		"DELETE consent": s.at(s.putConsent(false)),
	}
}

func wrong(w http.ResponseWriter, err error) {
	reply.JSON(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
}

// at finds the account that a control call is about.
func (s *api) at(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, err := world.Pick(world.Accounts(s.base.Tenants, name), r.URL.Query().Get("tenant"))
		if err != nil {
			wrong(w, err)
			return
		}
		h(w, r, a)
	}
}

func (s *api) getDeliveries(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseInt("0"+r.URL.Query().Get("after"), 10, 64)
	if err != nil {
		wrong(w, errors.New("after is a delivery's n"))
		return
	}
	reply.JSON(w, http.StatusOK, s.log.since(r.URL.Query().Get("account"), after))
}

func answerKeys(w http.ResponseWriter, is []string) {
	reply.JSON(w, http.StatusOK, map[string]any{"keys": append([]string{}, is...)})
}

func (s *api) putKeys(w http.ResponseWriter, r *http.Request, a world.Account) {
	var in struct {
		Keys []string `json:"keys"`
	}
	err := reply.Into(r, &in)
	if err == nil {
		err = s.setKeys(a, in.Keys)
	}
	if err != nil {
		wrong(w, err)
		return
	}
	answerKeys(w, s.keys(a))
}

func (s *api) putConsent(given bool) handler {
	return func(w http.ResponseWriter, _ *http.Request, a world.Account) {
		if err := s.setConsent(a, given); err != nil {
			wrong(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}
