// Package oauth gives accounts their access tokens: by refresh tokens that rotate, or by signed
// assertions (RFC 7523), and connects accounts by a person's consent (authorization code with PKCE).
// Of all processes one renews an account's tokens, under a row lock; what it got is sealed and stored
// before anybody else looks. An account whose consent has ended is held with the link by which a
// person connects it again. No token, code, key or answer of a vendor stands in a log or an error.
//
// Every calling process has a Tokens; the one that vendors reach serves its Callback; tenant connect
// begins consents and waits for them.
package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	// goodFor is how long a token that is given away must still be good: the call and its retries.
	goodFor = time.Minute
	// lookAgainAfter is when an account that waits for a person is tried by itself: consent may have
	// been given at the vendor. It costs the vendor 12 calls an hour.
	lookAgainAfter = 5 * time.Minute
	// failedFor is how long an account is left alone whose account server did not answer.
	failedFor = 5 * time.Second
	// renewWithin bounds one renewal: its turn, the lock, the call, the write and its repetition.
	renewWithin = 20 * time.Second
	// renewalsAtOnce of one process: each holds one of its three connections to Postgres while the
	// vendor answers, and the others are for everybody else.
	renewalsAtOnce = 1
)

// Config of a process's tokens.
type Config struct {
	// Vendors are those with OAuth, by name.
	Vendors map[string]tenant.OAuth
	// PublicURL is where vendors and people reach the bus: https://hooks.example.com. Without it a held
	// account's link is the command that prints one.
	PublicURL string
	// Below gives the client for an account server; vendorhttp.Client.Below does.
	Below func(base string) (*http.Client, error)
	// Wake asks who holds what for an account to try it now. Default: it is tried when it is due.
	Wake func(ctx context.Context, scope verdict.Scope) error
	// Metrics counts grants. Default: none.
	Metrics prometheus.Registerer
}

// Tokens gives access tokens and connects accounts. It implements vendorhttp.Tokens and is safe for
// concurrent use.
type Tokens struct {
	store   *tenant.Store
	cfg     Config
	grants  *prometheus.CounterVec
	flights singleflight.Group
	turn    chan struct{}

	mu     sync.Mutex
	failed map[string]failure // by account key
}

// failure is the last renewal's, where nobody answered.
type failure struct {
	until time.Time
	err   error
}

// New returns the tokens of a process. It asks nobody yet.
func New(store *tenant.Store, cfg Config) (*Tokens, error) {
	if cfg.PublicURL != "" {
		u, err := url.Parse(cfg.PublicURL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("the public URL is not one: write it as https://hooks.example.com")
		}
	}
	t := &Tokens{
		store: store, cfg: cfg, turn: make(chan struct{}, renewalsAtOnce), failed: map[string]failure{},
		grants: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "conveyance_oauth_grants_total",
			Help: "Tokens that vendors' account servers were asked for, by what came of it: granted, refused, unanswered.",
		}, []string{"vendor", "outcome"}),
	}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(t.grants); err != nil {
			return nil, fmt.Errorf("registering metrics of OAuth: %w", err)
		}
	}
	return t, nil
}

// Token implements vendorhttp.Tokens: the stored token where it is good for a minute, else a renewed
// one. It holds the account where the vendor refuses it, stalls or retries where nobody answers.
func (t *Tokens) Token(ctx context.Context, a tenant.Account) (string, error) {
	return t.get(ctx, a, "")
}

// Renew implements vendorhttp.Tokens: another token than the refused one, which another process may
// have got already.
func (t *Tokens) Renew(ctx context.Context, a tenant.Account, refused string) (string, error) {
	return t.get(ctx, a, refused)
}

func (t *Tokens) get(ctx context.Context, a tenant.Account, refused string) (string, error) {
	if _, ok := t.cfg.Vendors[a.Vendor]; !ok {
		return "", verdict.Held(scope(a), time.Time{}, "vendor "+a.Vendor+" gives no access tokens", nil)
	}
	now, err := t.look(ctx, a)
	if err != nil {
		return "", err
	}
	if !now.Health.Refused && good(now.Credential, refused) {
		return now.Credential.AccessToken, nil
	}
	// Its own goroutine and context: who gives up waiting must not break off what others wait for,
	// nor an answer that has to be stored.
	ch := t.flights.DoChan(a.Key()+"\x00"+refused, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewWithin)
		defer cancel()
		return t.renew(ctx, now, refused)
	})
	select {
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for an access token of %s: %w", a.Key(), context.Cause(ctx))
	case r := <-ch:
		token, _ := r.Val.(string)
		return token, r.Err
	}
}

// look returns the account as it is now, or its hold. What memory says of a person's doing is asked
// once more: the wake that a consent brings is faster than the view.
func (t *Tokens) look(ctx context.Context, a tenant.Account) (tenant.Account, error) {
	now, err := t.store.Account(a.Tenant, a.Vendor, a.Name)
	if err != nil || now.Health.Reconnect() != "" {
		now, err = t.store.Fresh(ctx, a.Tenant, a.Vendor, a.Name)
	}
	if err != nil {
		return now, err
	}
	if again := now.Health.CheckedAt.Add(lookAgainAfter); now.Health.Reconnect() != "" && time.Now().Before(again) {
		return now, verdict.Held(scope(a), again, now.Health.Cause, nil)
	}
	return now, nil
}

// good tells whether a token can be given away. Without an end it is, until it is refused.
func good(c tenant.Credential, refused string) bool {
	return c.AccessToken != "" && c.AccessToken != refused && (c.ExpiresAt.IsZero() || time.Until(c.ExpiresAt) >= goodFor)
}

// renew asks for new tokens, unless another process has.
func (t *Tokens) renew(ctx context.Context, a tenant.Account, refused string) (string, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", verdict.RetryAfter(0, "access tokens of others are renewed", context.Cause(ctx))
	}
	if err := t.lately(a); err != nil {
		return "", err
	}
	asked := false
	c, err := t.store.Renew(ctx, a, func(ctx context.Context, held tenant.Credential) (tenant.Credential, error) {
		if good(held, refused) {
			return held, nil
		}
		asked = true
		return t.grant(ctx, a, held)
	})
	if refusal, ok := errors.AsType[*tenant.Refusal](err); ok {
		return "", verdict.Held(scope(a), time.Now().Add(lookAgainAfter), refusal.Cause, nil)
	}
	if err != nil {
		if asked {
			t.mu.Lock()
			t.failed[a.Key()] = failure{time.Now().Add(failedFor), err}
			t.mu.Unlock()
		}
		return "", err
	}
	if a.Health.Refused && asked {
		t.store.SetHealth(ctx, a, false, "") // consent was given elsewhere
		t.wake(ctx, a)
	}
	return c.AccessToken, nil
}

// lately is why the account is left alone for a moment.
func (t *Tokens) lately(a tenant.Account) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.failed[a.Key()]
	if ok && time.Now().Before(f.until) {
		return f.err
	}
	delete(t.failed, a.Key())
	return nil
}

// wake is best effort: what is held is tried when it is due.
func (t *Tokens) wake(ctx context.Context, a tenant.Account) bool {
	return t.cfg.Wake == nil || t.cfg.Wake(ctx, scope(a)) == nil
}

func scope(a tenant.Account) verdict.Scope {
	return verdict.AccountScope(a.Tenant, a.Vendor, a.Name)
}
