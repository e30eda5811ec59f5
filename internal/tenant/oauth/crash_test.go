package oauth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

var errDied = errors.New("the process died")

// cut breaks every connection of the processes to Postgres that is in a transaction, once.
func (b *bus) cut() func() {
	return sync.OnceFunc(func() {
		_, err := b.pool.Exec(context.Background(), `
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE application_name = 'test' AND state = 'idle in transaction' AND query LIKE '%' || $1 || '%'`, b.schema)
		require.NoError(b.t, err)
	})
}

func TestConnectionThatBreaksBetweenAnswerAndCommitLosesNoToken(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, b.server.begin())
	broken := false
	cut := b.cut()
	b.server.before = func() {
		cut()
		broken = true
	}
	first, err := p.Token(t.Context(), p.account(t))
	require.NoError(t, err)
	require.True(t, broken)
	require.Equal(t, b.server.last, p.account(t).Credential.RefreshToken)
	require.Equal(t, first, p.account(t).Credential.AccessToken)
	b.expire()
	see(t, p)
	_, err = p.Token(t.Context(), p.account(t))
	require.NoError(t, err, "the rotated token is the stored one")
	asked, _ := b.server.counts()
	require.Equal(t, 2, asked)
}

// die renews as a process does that dies between the vendor's answer and the commit.
func (p *process) die(ctx context.Context, a tenant.Account) error {
	_, err := p.store.Renew(ctx, a, func(ctx context.Context, held tenant.Credential) (tenant.Credential, error) {
		if _, err := p.grant(ctx, a, held); err != nil {
			return held, err
		}
		return held, errDied
	})
	return err
}

func TestProcessThatDiesBetweenAnswerAndCommitCostsOneConsentAndNoMore(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.process()
	b.apply(p, byCode, b.server.begin())
	require.ErrorIs(t, p.die(t.Context(), p.account(t)), errDied)
	_, err := p.Token(t.Context(), p.account(t))
	require.Contains(t, verdict.Of(err).Cause, "reconnect: ")
	c, err := p.Begin(t.Context(), p.account(t))
	require.NoError(t, err)
	require.Equal(t, 200, newDoor(p).get(b.server.consent(t, c.Link)).Code)
	_, err = p.http.Do(t.Context(), p.account(t), getX)
	require.NoError(t, err)
}

func TestTransactionOfAFrozenProcessEndsAndAnotherGoesOn(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p, other := b.process(), b.process()
	b.apply(p, byCode, b.server.begin())
	a := p.account(t)
	locked, thaw, frozen := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := p.store.Renew(context.Background(), a, func(_ context.Context, held tenant.Credential) (tenant.Credential, error) {
			close(locked)
			<-thaw // frozen: no time-out of its own counts
			held.AccessToken, held.RefreshToken = "planted-late", "planted-late"
			return held, nil
		})
		frozen <- err
	}()
	<-locked
	_, err := other.Token(t.Context(), a) // waits for the row, and in vain
	require.Equal(t, "postgres busy", verdict.Of(err).Cause)
	require.Eventually(t, func() bool {
		var n int
		err := b.pool.QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%' || $1 || '%'`, b.schema).Scan(&n)
		return err == nil && n == 0
	}, tenant.RenewTimeout*3, lookEvery/10)
	want, err := other.Token(t.Context(), a)
	require.NoError(t, err)
	close(thaw)
	require.ErrorContains(t, <-frozen, "other tokens were stored meanwhile")
	require.Equal(t, want, p.account(t).Credential.AccessToken)
}

// TestTokensStayRightWhateverHappens runs two processes through expiry, refusals, deaths and consents.
// A token that is given away is one that the vendor takes; an account is held for a person exactly
// where its family was lost; and no refresh token is used twice but by the heir of a dead process.
func TestTokensStayRightWhateverHappens(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	ps := []*process{b.process(), b.process()}
	b.apply(ps[0], byCode, "")
	d := newDoor(ps[0])
	consent := func(t *rapid.T) {
		c, err := ps[0].Begin(context.Background(), ps[0].account(b.t))
		require.NoError(t, err)
		require.Equal(t, 200, d.get(b.server.consent(b.t, c.Link)).Code)
	}
	rapid.Check(t, func(t *rapid.T) {
		consent(t)
		dead, lost := false, false // the stored refresh token was used up; the family is revoked
		alive := func() bool {
			b.server.mu.Lock()
			defer b.server.mu.Unlock()
			return b.server.access[ps[0].account(b.t).Credential.AccessToken] != 0 && !lost
		}
		for range rapid.IntRange(3, 10).Draw(t, "steps") {
			p := rapid.SampledFrom(ps).Draw(t, "process")
			a := p.account(b.t)
			switch rapid.SampledFrom([]string{"call", "call", "expire", "forget", "die", "revoke", "consent"}).Draw(t, "what") {
			case "call":
				_, err := p.http.Do(context.Background(), a, getX)
				if err == nil {
					require.True(t, alive())
					continue
				}
				require.True(t, dead || lost, "%v", err)
				require.True(t, strings.HasPrefix(verdict.Of(err).Cause, "reconnect: "), "%v", err)
				lost = true
			case "expire":
				b.expire()
			case "forget":
				b.server.set(func() { clear(b.server.access) })
			case "die":
				if err := p.die(context.Background(), a); !dead && !lost {
					require.ErrorIs(t, err, errDied)
				} else {
					require.Error(t, err)
					lost = true
				}
				dead = true
			case "revoke":
				b.server.set(func() { clear(b.server.family); clear(b.server.access) })
				lost = true
			case "consent":
				consent(t)
				dead, lost = false, false
			}
			for drained := false; !drained; {
				select {
				case <-b.woken:
				default:
					drained = true
				}
			}
		}
	})
	var flows int
	require.NoError(t, b.pool.QueryRow(t.Context(), postgres.In(b.schema, `SELECT count(*) FROM {schema}.oauth_flow WHERE outcome <> ''`)).Scan(&flows))
	require.Zero(t, flows)
}
