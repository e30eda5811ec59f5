package vendorhttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"conveyance/internal/budget"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// Client calls vendors. It is safe for concurrent use.
type Client struct {
	cfg     Config
	http    *http.Client
	metrics *metrics

	mu    sync.Mutex
	gates map[string]*gate   // by account key
	outs  map[string]*outage // by vendor
}

// New returns a client. It dials nothing yet.
func New(cfg Config) (*Client, error) {
	return newClient(cfg, guard(cfg.AllowLoopback, httpsPort))
}

func newClient(cfg Config, control control) (*Client, error) {
	if cfg.BodyBytesMax == 0 {
		cfg.BodyBytesMax = BodyBytesMax
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = Timeout
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	return &Client{
		cfg: cfg,
		http: &http.Client{
			Transport: transport(cfg, control),
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a redirect could lead anywhere, with the credential
			},
		},
		metrics: m,
		gates:   map[string]*gate{},
		outs:    map[string]*outage{},
	}, nil
}

// Close drops idle connections; calls in flight end as they would.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do makes one call and waits for its whole answer. It returns a response for 2xx and for the
// statuses in r.Answers; every other outcome is an error with a verdict:
//
//	nothing sent (DNS, dial, TLS)          retry
//	no answer, or a broken one             retry for GET and HEAD, else doubt
//	408, 5xx                               retry for GET and HEAD, else doubt
//	425, 503 with Retry-After              retry: the vendor did not process it
//	429                                    hold the account until Retry-After
//	401, 403                               hold the account until the next probe; with Bearer, a 401
//	                                       only where another token is refused too
//	no access token to be had              what Config.Tokens says; nothing is sent
//	3xx, other 4xx                         park
//	body over the limit                    park for GET and HEAD, else doubt
//	base URL or address not allowed        hold the account until it is configured anew
//	account paused, failing, budget spent  hold the account; nothing is sent
//	vendor down for several accounts       stall; nothing is sent
//
// A caller's cancelled context is an unmarked error before anything was sent.
func (c *Client) Do(ctx context.Context, a tenant.Account, r Request) (Response, error) {
	if a.Paused {
		return Response{}, verdict.Held(scope(a), time.Time{}, "account paused", nil)
	}
	target, err := c.target(a, r)
	if err != nil {
		return Response{}, err
	}
	g, out := c.of(a)
	entered := time.Now() // not when it is sent: it may wait for its budget while the account is refused
	done, err := enter(g, out, a, entered, c.cfg.Timeout)
	if err != nil {
		return Response{}, err
	}
	resp, sent, err := c.attempt(ctx, target, a, &r)
	if err, ok := errors.AsType[*unaskedError](err); ok {
		done(notAsked, entered)
		return Response{}, err.err
	}
	if err != nil {
		done(outcomeOf(ctx, err), entered)
		return Response{}, unanswered(ctx, a, r, sent, err)
	}
	done(answered(r, resp), entered)
	return c.judge(ctx, g, a, r, resp, entered)
}

// attempt makes the call, with Bearer under the account's access token: one that is refused is renewed
// and the call made again, once, whatever its method, since a refused call was not carried out. r
// becomes what was sent, so that no error quotes the token.
func (c *Client) attempt(ctx context.Context, target string, a tenant.Account, r *Request) (Response, bool, error) {
	if !r.Bearer {
		return c.pay(ctx, target, a, *r)
	}
	if c.cfg.Tokens == nil {
		return Response{}, false, &unaskedError{verdict.Held(scope(a), time.Time{}, "no access tokens in this process", nil)}
	}
	token, err := c.cfg.Tokens.Token(ctx, a)
	if err != nil {
		return Response{}, false, &unaskedError{err}
	}
	r.authorize(token)
	resp, sent, err := c.pay(ctx, target, a, *r)
	if err != nil || resp.Status != http.StatusUnauthorized {
		return resp, sent, err
	}
	if token, err = c.cfg.Tokens.Renew(ctx, a, token); err != nil {
		return Response{}, false, &unaskedError{err}
	}
	r.authorize(token)
	return c.pay(ctx, target, a, *r)
}

// unaskedError is why a call was not made; what it holds is the caller's to hear.
type unaskedError struct{ err error }

func (e *unaskedError) Error() string { return e.err.Error() }
func (e *unaskedError) Unwrap() error { return e.err }

// pay makes one call from the account's budget.
func (c *Client) pay(ctx context.Context, target string, a tenant.Account, r Request) (Response, bool, error) {
	purse := c.budget(r)
	if purse != nil && !r.Free {
		if err := purse.Take(ctx, a, cmp.Or(r.Lane, budget.LaneOf(ctx))); err != nil {
			return Response{}, false, &unaskedError{err}
		}
	}
	started := time.Now()
	resp, sent, err := c.send(ctx, target, r)
	c.metrics.observe(a, resp.Status, time.Since(started))
	if purse != nil && resp.Status != 0 {
		purse.Learn(ctx, a, resp.Status, resp.Header)
	}
	return resp, sent, err
}

// authorize puts an access token into the header, and leaves the caller's own as it is.
func (r *Request) authorize(token string) {
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Authorization", bearer+token)
}

// send makes the call. sent is true where a byte of it may have reached the vendor: from the moment
// it had a connection, since what is written from there on cannot be told.
func (c *Client) send(ctx context.Context, target string, r Request) (resp Response, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, r.Method, target, body(r))
	if err != nil {
		return Response{}, false, errBadRequest // its text may hold the URL with its query
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "conveyance")
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return Response{}, connected.Load(), err
	}
	defer func() { _ = answer.Body.Close() }()
	resp = Response{Status: answer.StatusCode, Header: answer.Header}
	resp.Body, err = io.ReadAll(io.LimitReader(answer.Body, c.cfg.BodyBytesMax+1))
	if err == nil && int64(len(resp.Body)) > c.cfg.BodyBytesMax {
		err = &tooLargeError{c.cfg.BodyBytesMax}
	}
	return resp, true, err
}

// judge tells the account's gate and the health callback what the answer says, and returns it or
// its verdict.
func (c *Client) judge(
	ctx context.Context, g *gate, a tenant.Account, r Request, resp Response, started time.Time,
) (Response, error) {
	ok := resp.Status >= 200 && resp.Status <= 299
	if resp.Status != http.StatusTooManyRequests && !r.Free { // a login spends no quota
		g.unlimited()
	}
	if ok || slices.Contains(r.Answers, resp.Status) {
		switch {
		case !ok || r.Free: // a login proves the key, not that the account may be used
			g.undecided(started, time.Now())
		case g.accepted(a, started, time.Now()):
			c.health(ctx, a, false, "")
		}
		return resp, nil
	}
	if resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden {
		until, first := g.refused(a, started, time.Now())
		cause := fmt.Sprintf("%s %d", causeRefused, resp.Status)
		if first {
			c.health(ctx, a, true, cause)
		}
		return Response{}, verdict.Held(scope(a), until, causeRefused, statusError(r, resp, a))
	}
	g.undecided(started, time.Now())
	return Response{}, judgeStatus(g, a, r, resp, started, time.Now())
}

func (c *Client) health(ctx context.Context, a tenant.Account, refused bool, cause string) {
	if c.cfg.Health != nil {
		c.cfg.Health(ctx, a, refused, cause)
	}
}

// of returns what is remembered of an account and of its vendor. Both live as long as the client:
// there are as many as accounts.
func (c *Client) of(a tenant.Account) (*gate, *outage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, out := c.gates[a.Key()], c.outs[a.Vendor]
	if out == nil {
		out = newOutage(a.Vendor, c.metrics)
		c.outs[a.Vendor] = out
	}
	if g == nil {
		g = newGate(a, c.metrics)
		c.gates[a.Key()] = g
	}
	return g, out
}

func scope(a tenant.Account) verdict.Scope {
	return verdict.AccountScope(a.Tenant, a.Vendor, a.Name)
}

func (c *Client) budget(r Request) budget.Budget {
	if c.cfg.Budget == nil || r.Bucket == "" {
		return c.cfg.Budget
	}
	return c.cfg.Budget.In(r.Bucket)
}
