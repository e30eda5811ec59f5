package e2e

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
)

// linked are the decisions about an envelope that are on the bus: each as its deal, with a minus in
// front where the link was undone.
func (b *bus) linked(ctx context.Context, p paper) (all []string) {
	b.t.Helper()
	for _, m := range b.messages(ctx, "links.v1") {
		if m.key != p.key() {
			continue
		}
		switch e := m.Message.(type) {
		case *event.ResourceLinked:
			all = append(all, e.DealKey)
		case *event.ResourceUnlinked:
			all = append(all, "-"+e.DealKey+" "+e.Reason)
		}
	}
	return all
}

// unlinked is a line of link list; empty where the envelope is not listed.
type unlinked struct {
	Resource string
	Undone   bool
	Claims   []string
	Deals    []struct {
		Deal    string
		Matches []string
	}
}

func (b *bus) unlinked(ctx context.Context, p paper) unlinked {
	b.t.Helper()
	for line := range strings.Lines(b.command(ctx, "link", "list", "--tenant", p.tenant, "--json")) {
		var u unlinked
		require.NoError(b.t, json.Unmarshal([]byte(line), &u))
		if u.Resource == p.key() {
			return u
		}
	}
	return unlinked{}
}

// links is about an envelope that names a deal that nobody has, and is signed by a client of two deals
// and by the seller of one of them.
func links(ctx context.Context, b *bus) {
	one, two := b.sale(ctx, "lakeshore", 60), b.sale(ctx, "lakeshore", 61)
	two.email = one.email
	const seller = "seller.60@example.com"
	b.put(ctx, two, `{"buyers":[{"firstName":"Robin","lastName":"Buyer","email":"`+one.email+`"}],
		"sellers":[{"firstName":"Sasha","lastName":"Seller","email":"`+seller+`"}]}`)
	b.await("both deals in the CRM", func() bool { return b.known(ctx, one) && b.known(ctx, two) })
	b.await("the seller", func() bool {
		return b.one(ctx, "SELECT count(*) FROM warehouse.deal_participant WHERE deal_key = $1", two.key()) == 2
	})
	nothing := b.paper(ctx, "lakeshore", 62, "", "stranger.62@example.com")
	p := b.paper(ctx, "lakeshore", 60, "ffffffff-0000-4000-8000-000000000000", one.email, seller)
	b.await("both on the list", func() bool {
		return b.unlinked(ctx, p).Resource != "" && b.unlinked(ctx, nothing).Resource != ""
	})
	require.Empty(b.t, b.unlinked(ctx, nothing).Deals)
	u := b.unlinked(ctx, p)
	require.Equal(b.t, []string{"deal_id", "email", "email"}, u.Claims)
	require.Len(b.t, u.Deals, 2)
	require.Equal(b.t, two.key(), u.Deals[0].Deal, "it shares two e-mails")
	require.Equal(b.t, []string{"email", "email"}, u.Deals[0].Matches)
	require.Equal(b.t, one.key(), u.Deals[1].Deal)
	require.Zero(b.t, b.notes(ctx, one))

	b.command(ctx, "link", "set", p.key(), one.key())
	b.await("both signatures on the deal", func() bool { return b.documents(ctx, p, one) == 2 })
	b.await("the buyer's note", func() bool { return b.notes(ctx, one) == 1 })
	require.Empty(b.t, b.unlinked(ctx, p).Resource)

	b.command(ctx, "link", "undo", p.key(), "--reason", "the other Trouble Lane")
	b.await("no signature on the deal", func() bool { return b.documents(ctx, p, one) == 0 })
	require.True(b.t, b.unlinked(ctx, p).Undone)

	b.command(ctx, "link", "set", p.key(), two.key())
	b.await("both signatures on the other deal", func() bool { return b.documents(ctx, p, two) == 2 })
	b.command(ctx, "link", "set", p.key(), one.key())
	b.await("both signatures on the first", func() bool {
		return b.documents(ctx, p, one) == 2 && b.documents(ctx, p, two) == 0
	})
	b.command(ctx, "link", "set", p.key(), two.key())
	b.await("both signatures on the other deal", func() bool {
		return b.documents(ctx, p, two) == 2 && b.documents(ctx, p, one) == 0
	})
	require.Equal(b.t, []string{
		one.key(), "-" + one.key() + " the other Trouble Lane", two.key(), "-" + two.key() + " set to another deal",
		one.key(), "-" + one.key() + " set to another deal", two.key(),
	}, b.linked(ctx, p))
	on := map[string]int{}
	keys, _ := b.signatures(ctx, p)
	for _, key := range keys {
		on[key]++
	}
	require.Equal(b.t, map[string]int{one.key(): 4, two.key(): 4}, on, "each link says its signatures once")
	b.handled(ctx)
	require.Equal(b.t, 1, b.notes(ctx, one))
	require.Contains(b.t, b.command(ctx, "why", p.key()), "belongs to deal "+two.key())

	// The judge goes by what the envelope says: the person who decided corrects that, too.
	b.write(ctx, p, "completed", two.guid, 2, one.email, seller)
}

// early is about an envelope that comes before its deal.
func early(ctx context.Context, b *bus) {
	s := sale{"lakeshore", "00000000-0000-4000-8000-000000000070", "buyer.lakeshore.70@example.com", "70 Trouble Lane"}
	p := paper{"lakeshore", "eeeeeeee-0000-4000-8000-000000000070"}
	other := "other." + s.email
	b.write(ctx, p, "delivered", strings.ToUpper(s.guid), 1, s.email, other)
	b.await("the envelope that waits", func() bool { return b.heldKey(ctx, "translate", p.key()).Cause == "no deal yet" })
	why := b.command(ctx, "why", p.key())
	require.Contains(b.t, why, "no deal yet")
	require.Contains(b.t, why, "conveyance link suggest")
	b.write(ctx, p, "completed", strings.ToUpper(s.guid), 2, s.email, other)
	b.await("what queues behind it", func() bool { return b.heldKey(ctx, "translate", p.key()).Count == 2 })
	b.sale(ctx, "lakeshore", 70)
	b.await("both signatures on the deal", func() bool { return b.documents(ctx, p, s) == 2 })
	b.await("nothing that waits", func() bool { return b.heldKey(ctx, "translate", p.key()).Count == 0 })
	keys, signed := b.signatures(ctx, p)
	require.Equal(b.t, []string{s.key(), s.key()}, keys)
	require.Equal(b.t, []bool{false, true}, []bool{signed[0].EnvelopeComplete, signed[1].EnvelopeComplete}, "in order")
}
