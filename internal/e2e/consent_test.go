package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"
)

// consent takes redrock's away, twice: it comes back by the link that status shows, and by tenant
// connect once it was given at the vendor.
func consent(ctx context.Context, b *bus) {
	s, other := b.sale(ctx, "redrock", 80), b.sale(ctx, "lakeshore", 81)
	b.await("both deals in the CRM", func() bool { return b.known(ctx, s) && b.known(ctx, other) })
	for n, back := range []func(context.Context, *bus, string){clicked, connected} {
		b.control(ctx, http.MethodDelete, "/docusign/consent?tenant=redrock", "", nil)
		first, second := s.email, "other."+s.email
		p := paper{"redrock", "eeeeeeee-0000-4000-8000-00000000008" + string(rune('0'+n))}
		b.write(ctx, p, "delivered", s.guid, 1, first, second)
		var said standing
		b.await("the account in status", func() bool {
			said = b.account(ctx, "redrock/docusign/main", "reconnect")
			return said.Account != ""
		})
		require.Equal(b.t, "connect it again: "+said.Link, said.Remedy)
		require.True(b.t, strings.HasPrefix(said.Link, b.Info.HTTP+"/oauth/docusign/callback?"), said.Link)
		require.Contains(b.t, b.command(ctx, "why", "redrock"), "wants a person's consent for account redrock/docusign/main")
		b.write(ctx, p, "completed", s.guid, 2, first, second)
		behind := b.paper(ctx, "redrock", 90+n, s.guid, first)
		b.delivered(ctx, "redrock") // the door needs nobody's consent

		flows := b.paper(ctx, "lakeshore", 80+n, other.guid, other.email)
		b.await("the other brokerage's signature", func() bool { return b.documents(ctx, flows, other) == 1 })
		require.Zero(b.t, b.documents(ctx, p, s)+b.documents(ctx, behind, s))
		require.Empty(b.t, b.account(ctx, "lakeshore/docusign/main", "reconnect"))

		back(ctx, b, said.Link)
		b.await("both signatures", func() bool { return b.documents(ctx, p, s) == 2 })
		b.await("the one behind", func() bool { return b.documents(ctx, behind, s) == 1 })
		require.Empty(b.t, b.account(ctx, "redrock/docusign/main", "reconnect"))
	}
}

// clicked opens the link as redrock's person does.
func clicked(ctx context.Context, b *bus, link string) {
	get := func(url string) *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		require.NoError(b.t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(b.t, err)
		require.Equal(b.t, http.StatusOK, resp.StatusCode)
		return resp
	}
	form := get(link) // the vendor's
	require.NoError(b.t, form.Body.Close())
	at := form.Request.URL.String()
	require.True(b.t, strings.HasPrefix(at, b.Info.Sandbox+"/docusign/oauth/auth?"), at)
	page := get(at + "&login_hint=redrock")
	text, err := io.ReadAll(page.Body)
	require.NoError(b.t, err)
	require.NoError(b.t, page.Body.Close())
	require.Contains(b.t, strings.ToLower(string(text)), "connected")
}

// connected runs what the door's own link is short for, where a person has consented elsewhere.
func connected(ctx context.Context, b *bus, _ string) {
	b.control(ctx, http.MethodPut, "/docusign/consent?tenant=redrock", "", nil)
	out := b.command(ctx, "tenant", "connect", "redrock", "--account", "docusign/main", "--public-url", b.Info.HTTP)
	require.Contains(b.t, out, "connected; what waited flows")
	require.NotContains(b.t, out, "changed at the vendor")
}
