package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	// stateBytes of a consent's state: it cannot be guessed.
	stateBytes = 32
	// startBytes of the key in a reconnect link: it starts a consent and gives nothing by itself.
	startBytes = 16
	// lookEvery is how often who waits for a consent looks.
	lookEvery = 500 * time.Millisecond
)

// ErrNotConnected is in the chain of what Wait returns where a consent ended without success.
var ErrNotConnected = errors.New("not connected")

// ErrOtherLogin means that an account's tokens are of a login that does not lead to it at the vendor.
var ErrOtherLogin = errors.New("the login does not lead to the account at the vendor")

// Consent is one that was asked for.
type Consent struct {
	Link      string // for a person's browser
	ExpiresAt time.Time
	state     tenant.State
}

// callbackPath is where a vendor sends people back to, and where a reconnect link leads.
func callbackPath(vendor string) string { return "/oauth/" + vendor + "/callback" }

// Begin makes the link by which a person consents, good once and for tenant.FlowTime.
func (t *Tokens) Begin(ctx context.Context, a tenant.Account) (Consent, error) {
	if _, ok := t.cfg.Vendors[a.Vendor]; !ok {
		return Consent{}, fmt.Errorf("connecting %s: %s has no OAuth: its credential is all", a.Key(), a.Vendor)
	}
	if t.cfg.PublicURL == "" {
		return Consent{}, fmt.Errorf("connecting %s: give --public-url (or CONVEYANCE_PUBLIC_URL), where the vendor sends the person back to", a.Key())
	}
	if a.Credential.Fields["client_id"] == "" {
		return Consent{}, fmt.Errorf("connecting %s: its credential has no client_id", a.Key())
	}
	s, err := t.serverOf(a, a.Credential.Fields)
	if err != nil {
		return Consent{}, fmt.Errorf("connecting %s: %w", a.Key(), err)
	}
	random := make([]byte, stateBytes)
	_, _ = rand.Read(random) // never fails
	state, verifier := base64.RawURLEncoding.EncodeToString(random), oauth2.GenerateVerifier()
	f := tenant.Flow{
		Account: a, Verifier: verifier, Redirect: strings.TrimSuffix(t.cfg.PublicURL, "/") + callbackPath(a.Vendor),
	}
	c := Consent{ExpiresAt: time.Now().Add(tenant.FlowTime), state: tenant.StateOf(state)}
	if err := t.store.BeginFlow(ctx, c.state, f); err != nil {
		return Consent{}, err
	}
	c.Link = s.code(f.Redirect).AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
	return c, nil
}

// Wait blocks until the consent has ended, in whatever process serves the callback, or ctx has.
// What went wrong is ErrNotConnected with a sentence for people; a consent that nobody gave in time is
// tenant.ErrNoFlow.
func (t *Tokens) Wait(ctx context.Context, c Consent) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		ended, outcome, err := t.store.FlowEnded(ctx, c.state)
		switch {
		case err != nil:
			return err
		case ended && outcome != "":
			return fmt.Errorf("%w: %s", ErrNotConnected, outcome)
		case ended:
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Connect gets an account its tokens where that needs nobody: by assertion, or by the refresh token
// that it has. It returns false where a person has to consent first. Errors carry verdicts, but for
// ErrOtherLogin.
func (t *Tokens) Connect(ctx context.Context, a tenant.Account) (connected bool, err error) {
	got, err := t.store.Renew(ctx, a, func(ctx context.Context, held tenant.Credential) (tenant.Credential, error) {
		if good(held, "") && !a.Health.Refused {
			return held, nil
		}
		return t.grant(ctx, a, held)
	})
	if refusal, ok := errors.AsType[*tenant.Refusal](err); ok {
		if strings.HasPrefix(refusal.Cause, tenant.CauseReconnect("")) {
			return false, nil
		}
		return false, verdict.Held(scope(a), time.Time{}, refusal.Cause, nil)
	}
	if err != nil {
		return false, err
	}
	s, err := t.serverOf(a, got.Fields)
	if err != nil {
		return false, err
	}
	ok, err := s.leadsTo(ctx, got.AccessToken, a.ExternalID)
	if err != nil {
		return false, err
	}
	if !ok {
		return false, fmt.Errorf("connecting %s, external_id %s: %w", a.Key(), a.ExternalID, ErrOtherLogin)
	}
	t.mended(ctx, a)
	return true, nil
}

// mended clears an account's refusal and wakes what waits for it.
func (t *Tokens) mended(ctx context.Context, a tenant.Account) {
	t.mu.Lock()
	delete(t.failed, a.Key())
	t.mu.Unlock()
	t.store.SetHealth(ctx, a, false, "")
	t.wake(ctx, a)
}

// link is where a person connects an account again: it lasts, and begins a consent when it is opened.
// Without a public URL it is the command.
func (t *Tokens) link(ctx context.Context, a tenant.Account) string {
	key, ok := t.startKey(ctx, a)
	if t.cfg.PublicURL == "" || !ok {
		return fmt.Sprintf("conveyance tenant connect %s --account %s/%s", a.Tenant, a.Vendor, a.Name)
	}
	q := url.Values{"connect": {a.Tenant + "/" + a.Name}, "key": {key}}
	return strings.TrimSuffix(t.cfg.PublicURL, "/") + callbackPath(a.Vendor) + "?" + q.Encode()
}

// startKey keeps strangers from beginning consents. It is derived, so that nothing has to be stored.
func (t *Tokens) startKey(ctx context.Context, a tenant.Account) (string, bool) {
	of, err := t.store.Tenant(ctx, a.Tenant)
	if err != nil || len(of.PseudonymKey) == 0 {
		return "", false
	}
	mac := hmac.New(sha256.New, of.PseudonymKey)
	_, _ = mac.Write([]byte("oauth connect " + a.Key())) // never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:startBytes]), true
}
