package oauth

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

var getX = vendorhttp.Request{Method: "GET", Path: "/x", Bearer: true}

func TestManyCallersOfTwoProcessesRenewAnExpiredTokenOnce(t *testing.T) {
	t.Parallel()
	for name, credential := range map[string]map[string]string{"refresh": byCode, "assertion": byAssertion} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			one, two := b.process(), b.process()
			b.apply(one, credential, b.server.begin())
			see(t, one, two)
			a := one.account(t)
			var wg sync.WaitGroup
			got := make([]string, 40)
			for i := range got {
				p := []*process{one, two}[i%2]
				wg.Go(func() {
					token, err := p.Token(t.Context(), a)
					if err == nil {
						got[i] = token
					}
				})
			}
			wg.Wait()
			asked, _ := b.server.counts()
			require.Equal(t, 1, asked)
			for _, token := range got {
				require.Equal(t, got[0], token)
				require.NotEmpty(t, token)
			}
		})
	}
}

func TestManyRefusedCallsRenewOnceAndAllSucceed(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	one, two := b.process(), b.process()
	b.apply(one, byCode, b.server.begin())
	a := one.account(t)
	_, err := one.Token(t.Context(), a)
	require.NoError(t, err)
	see(t, one, two)
	b.server.set(func() { clear(b.server.access) }) // the vendor forgets it before its time
	var wg sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		p := []*process{one, two}[i%2]
		wg.Go(func() { _, errs[i] = p.http.Do(t.Context(), a, getX) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	asked, _ := b.server.counts()
	require.Equal(t, 2, asked, "the first token, and one renewal")
}

func TestTokenThatIsGoodIsGivenFromMemoryAlsoWhilePostgresAndVendorAreAway(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, b.server.begin())
	want, err := p.Token(t.Context(), p.account(t))
	require.NoError(t, err)
	a := p.account(t)
	b.server.Close()
	_, err = b.pool.Exec(t.Context(), postgres.In(b.schema, `DROP SCHEMA {schema} CASCADE`))
	require.NoError(t, err)
	got, err := p.Token(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestRotatedTokensAreSealedAtRest(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, b.server.begin())
	for range 3 {
		_, err := p.Token(t.Context(), p.account(t))
		require.NoError(t, err)
		b.expire()
		see(t, p)
	}
	require.Equal(t, b.server.last, p.account(t).Credential.RefreshToken)
	var text string
	require.NoError(t, b.pool.QueryRow(t.Context(), postgres.In(b.schema,
		`SELECT string_agg(c::text || encode(access_token, 'escape') || encode(refresh_token, 'escape'), '') FROM {schema}.credential c`)).Scan(&text))
	require.NotContains(t, text, "planted")
}

func TestVendorThatDoesNotRotateKeepsItsRefreshToken(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.server.rotate = false
	first := b.server.begin()
	p := b.process()
	b.apply(p, byCode, first)
	for range 2 {
		_, err := p.Token(t.Context(), p.account(t))
		require.NoError(t, err)
		require.Equal(t, first, p.account(t).Credential.RefreshToken)
		b.expire()
	}
}

func TestEndedConsentHoldsTheAccountWithItsLinkAndAsksNoMore(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p, other := b.process(), b.process()
	b.apply(p, byCode, b.server.begin())
	b.server.set(func() { clear(b.server.family) })
	a := p.account(t)
	_, err := p.http.Do(t.Context(), a, getX)
	v := verdict.Of(err)
	require.Equal(t, verdict.Hold, v.Kind)
	require.Equal(t, verdict.AccountScope("lakeshore", "docusign", "main"), v.Scope)
	link := "https://hooks.example.com/oauth/docusign/callback?connect=lakeshore%2Fmain&key="
	require.True(t, strings.HasPrefix(v.Cause, "reconnect: "+link), v.Cause)
	require.WithinDuration(t, time.Now().Add(lookAgainAfter), v.Until, 10*time.Second)
	for range 10 {
		for _, q := range []*process{p, other} {
			see(t, q)
			_, err = q.http.Do(t.Context(), a, getX)
			require.Equal(t, v.Cause, verdict.Of(err).Cause)
		}
	}
	asked, _ := b.server.counts()
	require.Equal(t, 1, asked)
	h := other.account(t).Health
	require.True(t, h.Refused)
	require.True(t, strings.HasPrefix(h.Reconnect(), link))
	require.NotContains(t, h.Cause, "planted")
}

func TestHeldAccountLooksForItselfAfterAWhileAndFlowsWhereConsentIsBack(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.server.consented = false
	p := b.process()
	b.apply(p, byAssertion, "")
	a := p.account(t)
	_, err := p.Token(t.Context(), a)
	require.Contains(t, verdict.Of(err).Cause, "reconnect: https://")
	b.server.set(func() { b.server.consented = true })
	_, err = p.Token(t.Context(), a)
	require.Error(t, err, "not yet")
	_, err = b.pool.Exec(t.Context(), postgres.In(b.schema, `
UPDATE {schema}.account SET checked_at = now() - interval '6 minutes'; UPDATE {schema}.tenant_change SET n = n + 1`))
	require.NoError(t, err)
	_, err = p.Token(t.Context(), a)
	require.NoError(t, err)
	require.False(t, p.account(t).Health.Refused)
	require.Equal(t, verdict.AccountScope("lakeshore", "docusign", "main"), <-b.woken)
}

func TestAccountThatWasNeverConnectedIsHeldWithoutACall(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process(func(c *Config) { c.PublicURL = "" })
	b.apply(p, byCode, "")
	_, err := p.Token(t.Context(), p.account(t))
	require.Equal(t, "reconnect: conveyance tenant connect lakeshore --account docusign/main", verdict.Of(err).Cause)
	asked, _ := b.server.counts()
	require.Zero(t, asked)
	_, err = p.Token(t.Context(), tenant.Account{Vendor: "followupboss"})
	require.Equal(t, "vendor followupboss gives no access tokens", verdict.Of(err).Cause)
}

func TestWrongCredentialIsRefusedAndNotForAPersonToConsent(t *testing.T) {
	t.Parallel()
	for want, credential := range map[string]map[string]string{
		"account refused: invalid_client":                           {"client_id": "key", "client_secret": "planted-wrong"},
		"account refused: invalid_grant for user_id or private_key": {"client_id": "key", "user_id": "nobody", "private_key": keyPEM()},
		"account refused: private_key is no RSA key in PEM":         {"client_id": "key", "user_id": "user-1", "private_key": "planted"},
	} {
		b := newBus(t)
		p := b.process()
		b.apply(p, credential, b.server.begin())
		_, err := p.Token(t.Context(), p.account(t))
		require.Equal(t, want, verdict.Of(err).Cause)
		require.Equal(t, verdict.Hold, verdict.Of(err).Kind)
		require.NotContains(t, err.Error(), "planted")
		require.Equal(t, want, p.account(t).Health.Cause)
		require.Empty(t, p.account(t).Health.Reconnect())
	}
}

func TestAnotherCredentialThatComesMeanwhileIsNotRefused(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p, operator := b.process(), b.process()
	b.apply(p, map[string]string{"client_id": "key", "client_secret": "planted-wrong"}, b.server.begin())
	a := p.account(t)
	applied := make(chan error, 1)
	b.server.before = sync.OnceFunc(func() {
		go func() { // waits for the row
			_, err := operator.store.Apply(t.Context(), []tenant.Wanted{b.wanted(byCode)}, "test")
			applied <- err
		}()
		require.Eventually(t, func() bool {
			var n int
			err := b.pool.QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
   AND query LIKE '%' || $1 || '%'`, b.schema).Scan(&n)
			return err == nil && n > 0
		}, 3*time.Second, 5*time.Millisecond)
	})
	_, err := p.Token(t.Context(), a)
	require.Error(t, err)
	require.NoError(t, <-applied)
	require.Equal(t, tenant.Health{}.Cause, p.account(t).Health.Cause)
	require.False(t, p.account(t).Health.Refused)
}

func TestSilentAccountServerIsARetryAndIsLeftAloneForAMoment(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter){
		"500": func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"429": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"html":          func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>planted</html>") },
		"nothing":       func(w http.ResponseWriter) { _, _ = io.WriteString(w, "{}") },
		"no bearer":     func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"access_token":"planted","token_type":"mac"}`) },
		"header attack": func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"access_token":"planted\r\nX: y"}`) },
		"huge": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"access_token":"`+strings.Repeat("planted", 1<<20))
		},
		"reset": func(w http.ResponseWriter) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			_ = conn.Close()
		},
		"503 with a code": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"error":"temporarily_unavailable","error_description":"planted"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			p := b.process()
			for _, credential := range []map[string]string{byCode, byAssertion} {
				b.server.set(func() { b.server.answer, b.server.asked = nil, 0 })
				first := b.server.begin()
				b.apply(p, credential, first)
				b.server.set(func() { b.server.answer = func(w http.ResponseWriter) bool { answer(w); return true } })
				a := p.account(t)
				for range 5 {
					_, err := p.Token(t.Context(), a)
					require.Equal(t, verdict.Retry, verdict.Of(err).Kind, "%v", err)
					require.NotContains(t, err.Error(), "planted")
				}
				asked, _ := b.server.counts()
				require.Equal(t, 1, asked)
				require.False(t, p.account(t).Health.Refused)
				require.Equal(t, first, p.account(t).Credential.RefreshToken, "nothing was stored")
				p.mu.Lock()
				clear(p.failed)
				p.mu.Unlock()
			}
		})
	}
}

func TestCallerThatGivesUpDoesNotBreakOffWhatOthersWaitFor(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, b.server.begin())
	a := p.account(t)
	ctx, cancel := context.WithCancel(t.Context())
	reached, goOn := make(chan struct{}), make(chan struct{})
	b.server.before = sync.OnceFunc(func() { close(reached); <-goOn })
	failed := make(chan error, 1)
	go func() {
		_, err := p.Token(ctx, a)
		failed <- err
	}()
	<-reached
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	close(goOn)
	_, err := p.Token(t.Context(), a)
	require.NoError(t, err)
	asked, _ := b.server.counts()
	require.Equal(t, 1, asked)
}

func TestShortLivedTokenIsUsedForMostOfItsLife(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.server.life = 40
	p := b.process()
	b.apply(p, byCode, b.server.begin())
	for range 5 {
		_, err := p.Token(t.Context(), p.account(t))
		require.NoError(t, err)
	}
	asked, _ := b.server.counts()
	require.Equal(t, 1, asked)
	require.WithinDuration(t, time.Now().Add(30*time.Second+goodFor), p.account(t).Credential.ExpiresAt, 5*time.Second)
}
