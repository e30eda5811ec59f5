// Package skyslope is the simulated SkySlope Suite API: brokerage files of sales, read by polling,
// since it sends no webhooks. Login by HMAC, a session that ends, a bulk list by time of change, a
// paged list, single files, users and offices. It writes dates without a zone (they are UTC), the
// year 1 for "no date", and now and then a byte order mark or a raw control character, as the real
// one does.
//
// Where the real one's behaviour is not known, this one does what is harder on a client:
// modifiedAfter excludes the instant itself, the bulk list is in no order of time, and ends with a
// summary object. Its limit is its own: 600 requests in 60 seconds for an account.
package skyslope

import (
	"net/http"
	"sync/atomic"
	"time"

	"conveyance/internal/sandbox/quota"
	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// An account may make requestsMax requests in requestsSpan. The vendor publishes no numbers; ten a
// second let one client read each file of a lively brokerage, and stop one that does not look.
const (
	requestsMax  = 600
	requestsSpan = time.Minute
)

// Kinds of records.
const (
	Sales   = "sales"
	Users   = "users"
	Offices = "offices"
)

type api struct {
	base     world.Base
	accounts []world.Account
	byKey    map[string]world.Account // by access key
	windows  quota.Windows
	answers  atomic.Int64
}

// New makes the vendor, with a user for each of the brokerages' agents.
func New(base world.Base) (world.Vendor, error) {
	s := &api{base: base, accounts: world.Accounts(base.Tenants, "skyslope"), byKey: map[string]world.Account{}}
	for _, a := range s.accounts {
		if err := s.open(a); err != nil {
			return world.Vendor{}, err
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /auth/login", s.login)
	mux.HandleFunc("GET /api/files", s.within(s.bulk))
	mux.HandleFunc("GET /api/files/sales", s.within(s.list))
	mux.HandleFunc("GET /api/files/sales/{guid}", s.within(s.one(Sales, "sale")))
	mux.HandleFunc("GET /api/users", s.within(s.all(Users)))
	mux.HandleFunc("GET /api/users/{guid}", s.within(s.one(Users, "user")))
	mux.HandleFunc("GET /api/offices", s.within(s.all(Offices)))
	mux.HandleFunc("GET /api/offices/{guid}", s.within(s.one(Offices, "office")))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "there is no such resource")
	})
	return world.Vendor{
		Name: "skyslope", Handler: mux, Caller: s.caller, Refuse: refuse, Dress: s.dress,
		Kinds: []string{Sales, Users, Offices}, Put: s.put,
	}, nil
}

func refuse(w http.ResponseWriter, status int, why string) {
	reply.JSON(w, status, map[string]any{"message": why})
}

// within lets a request through that has a live session and fits the account's limit.
func (s *api) within(h func(http.ResponseWriter, *http.Request, world.Account)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, live := s.session(r.Header.Get("Session"))
		if !live {
			refuse(w, http.StatusUnauthorized, "the session is not valid")
			return
		}
		left := s.windows.Of(a.Key(), requestsMax, s.base.Window(requestsSpan)).Take(s.base.Clock())
		w.Header().Set("x-ratelimit-limit", itoa(requestsMax))
		w.Header().Set("x-ratelimit-remaining", itoa(left.Remaining))
		w.Header().Set("x-ratelimit-reset", reply.Seconds(left.After))
		if !left.OK {
			world.Remark(r.Context(), world.OverQuota)
			w.Header().Set("Retry-After", reply.Seconds(left.After))
			refuse(w, http.StatusTooManyRequests, "the rate limit is exceeded")
			return
		}
		h(w, r, a)
	}
}

// one answers with a single record: {"value":{"<name>":{…}},"links":[]}.
func (s *api) one(kind, name string) func(http.ResponseWriter, *http.Request, world.Account) {
	return func(w http.ResponseWriter, r *http.Request, a world.Account) {
		rec := s.base.Records.As(r.Context()).Get(records.Key{Account: a.Key(), Kind: kind, ID: r.PathValue("guid")})
		if !rec.Exists() {
			refuse(w, http.StatusNotFound, "there is no "+name+" with that guid")
			return
		}
		reply.JSON(w, http.StatusOK, envelope{Value: map[string]any{name: rec.Body}, Links: []link{}})
	}
}

// all answers with every record of a kind.
func (s *api) all(kind string) func(http.ResponseWriter, *http.Request, world.Account) {
	return func(w http.ResponseWriter, r *http.Request, a world.Account) {
		bodies := []map[string]any{}
		for _, rec := range s.base.Records.As(r.Context()).List(a.Key(), kind) {
			if rec.Exists() {
				bodies = append(bodies, rec.Body)
			}
		}
		reply.JSON(w, http.StatusOK, envelope{Value: map[string]any{kind: bodies}, Links: []link{}})
	}
}

type envelope struct {
	Value map[string]any `json:"value"`
	Links []link         `json:"links"`
}

type link struct {
	Href   string `json:"href"`
	Method string `json:"method"`
	Rel    string `json:"rel"`
}
