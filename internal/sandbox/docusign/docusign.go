// Package docusign is the simulated DocuSign: its eSignature REST API, version 2.1, as far as
// envelopes and Connect go, its account server (OAuth), and Connect itself, which posts signed
// webhooks.
//
// What is documented is followed: 3,000 requests an hour, counted anew on the hour, and 500 in 30
// seconds, told in headers and refused with 400 and an error code, without Retry-After; errors as
// {"errorCode","message"}; Connect in JSON SIM, thin unless eventData.includeData asks for more, with
// every leaf of the summary as text, signed once per active key over the raw body. A configuration
// sends only with allowEnvelopePublish, deliveryMode SIM, eventData.version restv2.1, and allUsers or
// userIds; it signs only with includeHMAC and tries again only with requiresAcknowledgement. What is
// not taken marks it down: the first message is tried again once a day, ten times at most, what
// comes meanwhile is queued, and all of it goes out at once and in order when one is taken.
//
// Where the real one's behaviour is not known, this one does what is harder on a client:
// statusChangedDateTime, and with it the list by from_date, moves with the envelope's own status
// only, lastModifiedDateTime with every change; an old refresh token used again ends all that came
// of its consent; tokens die with the consent. More than 20 reads of one envelope in an hour are
// refused (the real limit is not published). generatedDateTime is the same at every try, retryCount
// is not.
package docusign

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"conveyance/internal/sandbox/quota"
	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

const name = "docusign"

// Kinds of records. The others are the account's own affairs.
const (
	Envelopes = "envelopes"
	Connect   = "connect"

	grants  = "grants"
	consent = "consent"
	keys    = "keys"
)

type api struct {
	base     world.Base
	accounts map[string]world.Account // by key
	windows  quota.Windows
	hours    hours
	reads    reads
	log      log
	post     *http.Client // Connect's
	opened   chan *outbox // to run
	ended    chan struct{}

	mu    sync.Mutex
	boxes map[records.Key]*outbox // by configuration
}

type handler func(http.ResponseWriter, *http.Request, world.Account)

// New makes the vendor. Two accounts never share an id or a user.
func New(base world.Base) (world.Vendor, error) {
	s := &api{
		base: base, accounts: map[string]world.Account{}, boxes: map[records.Key]*outbox{},
		opened: make(chan *outbox), ended: make(chan struct{}), post: client(base),
	}
	for _, a := range world.Accounts(base.Tenants, name) {
		if err := s.open(a); err != nil {
			return world.Vendor{}, err
		}
	}
	return world.Vendor{
		Name: name, Handler: s.routes(), Caller: s.caller, Refuse: refuse,
		Kinds: []string{Envelopes, Connect}, Put: s.put, Control: s.control(), Run: s.run,
	}, nil
}

func (s *api) open(a world.Account) error {
	jwt, code := a.Credential["user_id"] != "" && a.Credential["private_key"] != "", a.Credential["client_secret"] != ""
	switch {
	case a.Credential["client_id"] == "":
		return fmt.Errorf("account %s: its credential lacks client_id", a.Key())
	case !jwt && !code:
		return fmt.Errorf("account %s: its credential lacks client_secret, or user_id and private_key", a.Key())
	case a.ExternalID == "":
		return fmt.Errorf("account %s: its external id is empty", a.Key())
	}
	if jwt {
		if _, err := publicKey(a); err != nil {
			return fmt.Errorf("account %s: reading its private_key: %w", a.Key(), err)
		}
	}
	for _, other := range s.accounts {
		if strings.EqualFold(other.ExternalID, a.ExternalID) || user(other) == user(a) {
			return fmt.Errorf("accounts %s and %s have the same id or user", other.Key(), a.Key())
		}
	}
	s.accounts[a.Key()] = a
	return nil
}

// user is the id of the user who administers an account.
func user(a world.Account) string {
	if id := a.Credential["user_id"]; id != "" {
		return strings.ToLower(id)
	}
	return world.GUID("docusign-user", a.Key())
}

// email is that user's.
func email(a world.Account) string { return "signing." + a.Name + "@" + a.Tenant + ".example.com" }

func (s *api) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/auth", s.authorize)
	mux.HandleFunc("POST /oauth/token", s.token)
	mux.HandleFunc("GET /oauth/userinfo", s.userinfo)
	const account = "/restapi/v2.1/accounts/{account}"
	for pattern, h := range map[string]handler{
		"GET " + account + "/envelopes":                    s.list,
		"GET " + account + "/envelopes/{id}":               s.envelope(envelopeOf),
		"GET " + account + "/envelopes/{id}/recipients":    s.envelope(recipientsOf),
		"GET " + account + "/envelopes/{id}/custom_fields": s.envelope(customFieldsOf),
		"GET " + account + "/envelopes/{id}/documents":     s.envelope(documentsOf),

		"GET " + account + "/connect":                            s.listConnect,
		"GET " + account + "/connect/{id}":                       s.getConnect,
		"POST " + account + "/connect":                           s.createConnect,
		"PUT " + account + "/connect":                            s.updateConnect,
		"DELETE " + account + "/connect/{id}":                    s.deleteConnect,
		"GET " + account + "/connect/logs":                       s.listLogs,
		"GET " + account + "/connect/failures":                   s.listFailures,
		"PUT " + account + "/connect/envelopes/retry_queue":      s.retry,
		"PUT " + account + "/connect/envelopes/{id}/retry_queue": s.retry,
	} {
		mux.HandleFunc(pattern, s.within(h))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "there is no such resource")
	})
	return mux
}

// refuse answers with an error of the code that goes with the status.
func refuse(w http.ResponseWriter, status int, why string) {
	code := "UNSPECIFIED_ERROR"
	switch status {
	case http.StatusBadRequest:
		code = "INVALID_REQUEST_PARAMETER"
	case http.StatusUnauthorized:
		code = "AUTHORIZATION_INVALID_TOKEN"
	case http.StatusNotFound:
		code = "RESOURCE_NOT_FOUND"
	case http.StatusTooManyRequests:
		code = hourlyExceeded
	}
	fail(w, status, code, why)
}

func fail(w http.ResponseWriter, status int, code, why string) {
	reply.JSON(w, status, map[string]any{"errorCode": code, "message": why})
}

// within lets a request through that has a live token of the account in its path, and fits the
// account's limits.
func (s *api) within(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, live := s.bearer(r)
		if !live {
			refuse(w, http.StatusUnauthorized, "the access token is expired or invalid")
			return
		}
		if !strings.EqualFold(r.PathValue("account"), a.ExternalID) {
			fail(w, http.StatusBadRequest, "USER_LACKS_MEMBERSHIP", "the user is no member of this account")
			return
		}
		if !s.spend(w, r, a) {
			return
		}
		h(w, r, a)
	}
}
