package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"conveyance/internal/observe"
	"conveyance/internal/tenant"
)

const (
	// queryBytesMax of a callback: a code of DocuSign's is below 2 KiB.
	queryBytesMax = 8 << 10
	// codeBytesMax of an authorization code.
	codeBytesMax = 4 << 10
	// callbacksAtOnce bounds what strangers can make the process ask Postgres.
	callbacksAtOnce = 4
	// completeWithin bounds the exchange, the check and the write. The person waits for it, and it goes
	// on where the browser has gone.
	completeWithin = 15 * time.Second
)

// Callback is what people's browsers open: GET /oauth/<vendor>/callback, where vendors send them back
// to, and where reconnect links lead. The vendor is the pattern's {vendor}. It answers a plain page
// that says what happened, without a secret; a state counts once. It blocks for two calls to the
// vendor at most; its server should allow completeWithin (15 s) for an answer.
func (t *Tokens) Callback(log *zap.Logger) http.Handler {
	slots := make(chan struct{}, callbacksAtOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'", "Content-Type": "text/plain; charset=utf-8",
		} {
			w.Header().Set(name, value)
		}
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			page(w, http.StatusMethodNotAllowed, "Open this address in a browser.")
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			w.Header().Set("Retry-After", "1")
			page(w, http.StatusServiceUnavailable, "Too many at once: open the address again in a second.")
			return
		}
		ask, err := parse(r.URL.RawQuery)
		vendor := r.PathValue("vendor")
		switch {
		case err != nil:
			page(w, http.StatusBadRequest, "This address is not complete: "+err.Error()+".")
		case ask.connect != "":
			t.start(w, r, vendor, ask, log)
		default:
			t.comeBack(w, r, vendor, ask, log)
		}
	})
}

// asked is what a callback's query says.
type asked struct {
	connect, key      string // of a reconnect link
	state, code, fail string // of a vendor that sends a person back; fail is one of codes, or other
}

// parse understands a query, or says what is wrong with it without quoting it.
func parse(query string) (asked, error) {
	if len(query) > queryBytesMax {
		return asked{}, errors.New("it is too long")
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return asked{}, errors.New("it cannot be read")
	}
	for _, values := range q {
		if len(values) > 1 {
			return asked{}, errors.New("it says one thing twice")
		}
	}
	a := asked{connect: q.Get("connect"), key: q.Get("key"), state: q.Get("state"), code: q.Get("code"), fail: q.Get("error")}
	if a.fail != "" && !slices.Contains(codes, a.fail) {
		a.fail = "an error of its own"
	}
	switch {
	case a.connect != "" && a.key != "":
		return asked{connect: a.connect, key: a.key}, nil
	case a.connect != "" || a.state == "":
		return asked{}, errors.New("a part is missing")
	case a.fail == "" && !isCode(a.code):
		return asked{}, errors.New("it has no code")
	}
	return a, nil
}

func isCode(s string) bool { return len(s) <= codeBytesMax && isToken(s) }

// start begins a consent for who has a reconnect link, and sends the browser to the vendor.
func (t *Tokens) start(w http.ResponseWriter, r *http.Request, vendor string, ask asked, log *zap.Logger) {
	id, name, _ := strings.Cut(ask.connect, "/")
	a, err := t.store.Account(id, vendor, name)
	if err != nil { // it may have come just now
		a, err = t.store.Fresh(r.Context(), id, vendor, name)
	}
	want, ok := t.startKey(r.Context(), tenant.Account{Tenant: id, Vendor: vendor, Name: name})
	if subtle.ConstantTimeCompare([]byte(want), []byte(ask.key)) != 1 || !ok || err != nil {
		page(w, http.StatusNotFound, "There is nothing to connect at this address.")
		return
	}
	c, err := t.Begin(r.Context(), a)
	if err != nil {
		log.Warn("oauth.start", observe.Account(a.Key()), observe.Err(err))
		page(w, http.StatusServiceUnavailable, "This cannot be done now: try again in a minute.")
		return
	}
	w.Header().Del("Content-Type")
	http.Redirect(w, r, c.Link, http.StatusFound)
}

// comeBack ends a consent.
func (t *Tokens) comeBack(w http.ResponseWriter, r *http.Request, vendor string, ask asked, log *zap.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), completeWithin)
	defer cancel()
	state := tenant.StateOf(ask.state)
	f, err := t.store.TakeFlow(ctx, vendor, state)
	if errors.Is(err, tenant.ErrNoFlow) {
		page(w, http.StatusBadRequest, "This consent is not under way: it took longer than 15 minutes, or was ended already. Begin again.")
		return
	}
	if err != nil {
		log.Warn("oauth.callback", observe.Err(err))
		page(w, http.StatusServiceUnavailable, "This cannot be done now: begin again in a minute.")
		return
	}
	status, outcome := t.complete(ctx, f, ask)
	log.Info("oauth.callback", observe.Account(f.Account.Key()), observe.Cause(outcome))
	if err := t.store.EndFlow(ctx, state, outcome); err != nil {
		log.Warn("oauth.callback", observe.Account(f.Account.Key()), observe.Err(err))
	}
	if outcome != "" {
		page(w, status, "Not connected: "+outcome+".")
		return
	}
	page(w, status, fmt.Sprintf("Connected: %s of %s works again, and what waited flows. You can close this page.", f.Account.Vendor, f.Account.Tenant))
}

// complete turns a consent into stored tokens, and says in a sentence what went wrong; empty where the
// account is connected.
func (t *Tokens) complete(ctx context.Context, f tenant.Flow, ask asked) (status int, outcome string) {
	a, err := t.store.Fresh(ctx, f.Account.Tenant, f.Account.Vendor, f.Account.Name)
	if err != nil {
		return http.StatusNotFound, "the account is gone"
	}
	if ask.fail != "" {
		return http.StatusBadRequest, "the vendor says " + ask.fail
	}
	s, err := t.serverOf(a, a.Credential.Fields)
	if err != nil {
		return http.StatusBadGateway, err.Error()
	}
	var got tenant.Credential
	if s.byAssertion() {
		got, err = s.assert(ctx) // the consent is all that was missing; its code is for who keeps no key
	} else {
		got, err = s.exchange(ctx, ask.code, f)
	}
	t.count(a, err)
	if err != nil {
		return http.StatusBadGateway, err.Error()
	}
	ok, err := s.leadsTo(ctx, got.AccessToken, a.ExternalID)
	if err != nil {
		return http.StatusBadGateway, err.Error()
	}
	if !ok {
		return http.StatusForbidden, "the login is not one of account " + a.ExternalID + " at " + a.Vendor + ": log in there with another"
	}
	_, err = t.store.Renew(ctx, a, func(_ context.Context, held tenant.Credential) (tenant.Credential, error) {
		got.Fields = held.Fields
		return got, nil
	})
	if err != nil {
		return http.StatusServiceUnavailable, "the tokens could not be stored: begin again in a minute"
	}
	t.mended(ctx, a)
	return http.StatusOK, ""
}

func page(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) //nolint:gosec // G705: plain text by its header, and none of it from the query
}
