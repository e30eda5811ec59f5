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

func verdictOf(c *Client, name string) *verdict.Error {
	a := tenant.Account{Tenant: "t", Vendor: "v", Name: name}
	g, out := c.of(a)
	_, err := enter(g, out, a, time.Now(), Timeout)
	return verdict.Of(err)
}
