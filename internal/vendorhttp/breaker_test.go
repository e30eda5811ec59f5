package vendorhttp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// call is one call of an account that ends as o, and whether it was let through.
func call(t *testing.T, c *Client, name string, o outcome) bool {
	t.Helper()
	a := tenant.Account{Tenant: "t", Vendor: "v", Name: name}
	g, out := c.of(a)
	done, err := enter(g, out, a, time.Now(), Timeout)
	if err != nil {
		return false
	}
	done(o, time.Now())
	return true
}

func quietClient(t *testing.T) *Client {
	t.Helper()
	c, err := New(Config{})
	require.NoError(t, err)
	return c
}

func TestFailingAccountIsTriedAgainByOneCallAndOpensOnSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := quietClient(t)
		for range failuresInRow {
			require.True(t, call(t, c, "bad", down))
		}
		require.False(t, call(t, c, "bad", up))
		time.Sleep(accountOpen + time.Millisecond) //nolint:forbidigo // the bubble's clock
		a := tenant.Account{Tenant: "t", Vendor: "v", Name: "bad"}
		g, out := c.of(a)
		done, err := enter(g, out, a, time.Now(), Timeout)
		require.NoError(t, err)
		require.False(t, call(t, c, "bad", up), "one at a time")
		done(notAsked, time.Now()) // no token for the probe
		require.True(t, call(t, c, "bad", up), "which gives its place back")
		for range failuresInRow - 1 {
			require.True(t, call(t, c, "bad", down))
		}
		require.True(t, call(t, c, "bad", up))
		require.True(t, call(t, c, "bad", down), "only failures in a row count")
	})
}

func TestVendorThatWasDownIsTriedAgainSoonerThanItsAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := quietClient(t)
		for i := range failuresInRow {
			require.True(t, call(t, c, []string{"a", "b"}[i%2], down))
		}
		err := verdictOf(c, "healthy")
		require.Equal(t, verdict.Stall, err.Kind)
		time.Sleep(outageOpen + time.Millisecond) //nolint:forbidigo // the bubble's clock
		require.True(t, call(t, c, "healthy", up))
		require.True(t, call(t, c, "a", up))
	})
}

func TestSuccessOfAnyAccountKeepsTheVendorOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := quietClient(t)
		for range 20 {
			call(t, c, "a", down)
			call(t, c, "b", down)
			require.True(t, call(t, c, "healthy", up))
		}
		require.Equal(t, verdict.Hold, verdictOf(c, "a").Kind)
	})
}

func TestAccountsThatFailAreNoOutageWhileMoreGoWell(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := quietClient(t)
		for _, name := range []string{"w1", "w2", "w3"} {
			require.True(t, call(t, c, name, up))
		}
		for range 4 {
			for _, name := range []string{"a", "b", "c"} {
				require.True(t, call(t, c, name, down))
			}
		}
		require.True(t, call(t, c, "w1", up), "three fail, and three went well")
		time.Sleep(outageLook + time.Second) //nolint:forbidigo // the bubble's clock
		for range 3 {
			call(t, c, "d", down)
			call(t, c, "e", down)
		}
		require.Equal(t, verdict.Stall, verdictOf(c, "w1").Kind, "that was long ago")
	})
}

func verdictOf(c *Client, name string) *verdict.Error {
	a := tenant.Account{Tenant: "t", Vendor: "v", Name: name}
	g, out := c.of(a)
	_, err := enter(g, out, a, time.Now(), Timeout)
	return verdict.Of(err)
}

func TestWaitsAfterLimitsInARowGrowUntilACallGoesThrough(t *testing.T) {
	t.Parallel()
	g := newGate(tenant.Account{}, nil)
	now := time.Now()
	limit := func(asked time.Duration) time.Duration { now = now.Add(time.Hour); return g.limit(asked, now, now) }
	require.Equal(t, 5*time.Second, limit(5*time.Second))
	require.Equal(t, 5*time.Second, limit(5*time.Second))
	require.Equal(t, 5*time.Second, g.limit(5*time.Second, now.Add(-time.Second), now), "in flight with the one before")
	require.Equal(t, 4*time.Second, limit(0))
	require.Equal(t, time.Hour, limit(time.Hour), "what the vendor says is the least")
	for range 20 {
		limit(0)
	}
	require.Equal(t, limitedMax, limit(0))
	g.unlimited()
	require.Equal(t, time.Second, limit(0))
}
