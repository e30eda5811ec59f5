package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/chaos"
	"conveyance/internal/testkit"
)

// sale is a deal of the test's own, with one buyer, on the represented side.
type sale struct{ tenant, guid, email, street string }

func (b *bus) sale(ctx context.Context, tenant string, n int) sale {
	b.t.Helper()
	s := sale{tenant, fmt.Sprintf("00000000-0000-4000-8000-%012d", n), fmt.Sprintf("buyer.%s.%d@example.com", tenant, n), fmt.Sprintf("%d Trouble Lane", n)}
	b.put(ctx, s, fmt.Sprintf(`{"status":"Pre-Contract","dealType":"Purchase","salePrice":%d,"listingPrice":400000,
		"property":{"streetNumber":"%d","streetAddress":"Trouble Lane","city":"Springfield","state":"IL","zip":"62701"},
		"buyers":[{"firstName":"Robin","lastName":"Buyer","email":"%s"}]}`, 400_000+n, n, s.email))
	return s
}

func (b *bus) put(ctx context.Context, s sale, patch string) {
	b.t.Helper()
	b.control(ctx, http.MethodPut, "/skyslope/sales/"+s.guid+"?tenant="+s.tenant, patch, nil)
}

// stage is the buyer's stage in the CRM; empty where the CRM has no such person.
func (b *bus) stage(ctx context.Context, s sale) string {
	b.t.Helper()
	var people []struct {
		Stage  string `json:"stage"`
		Emails []struct {
			Value string `json:"value"`
		} `json:"emails"`
	}
	b.control(ctx, http.MethodGet, "/followupboss/people?tenant="+s.tenant, "", &people)
	for _, p := range people {
		for _, e := range p.Emails {
			if strings.EqualFold(e.Value, s.email) {
				return p.Stage
			}
		}
	}
	return ""
}

// known is true once the CRM has the buyer and the deal.
func (b *bus) known(ctx context.Context, s sale) bool {
	b.t.Helper()
	type deal struct {
		Name string `json:"name"`
	}
	var deals []deal
	b.control(ctx, http.MethodGet, "/followupboss/deals?tenant="+s.tenant, "", &deals)
	return b.stage(ctx, s) != "" && slices.Contains(deals, deal{s.street})
}

// await asks until something has happened, in the test's own goroutine: happened may end the test.
func (b *bus) await(what string, happened func() bool) {
	b.t.Helper()
	for until := time.Now().Add(2 * patience); !happened(); {
		require.True(b.t, time.Now().Before(until), "never happened: %s", what)
		chaos.Pause(b.t.Context(), 10*testkit.Look)
	}
}

// held are the kinds of what a group holds of a tenant.
func (b *bus) held(ctx context.Context, group, tenant string) (lines []heldLine) {
	b.t.Helper()
	for line := range strings.Lines(b.command(ctx, "held", "list", "--adapter", group, "--tenant", tenant, "--json")) {
		var l heldLine
		require.NoError(b.t, json.Unmarshal([]byte(line), &l))
		lines = append(lines, l)
	}
	return lines
}

type heldLine struct {
	Kind, Cause, Scope, Key string
	Count                   int
}

func TestOneBrokeragesTroubleStaysItsOwnAndEndsInOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	b := start(t)
	ctx := t.Context()
	mine, other := b.sale(ctx, "lakeshore", 1), b.sale(ctx, "redrock", 2)
	b.await("both deals in the CRM", func() bool { return b.known(ctx, mine) && b.known(ctx, other) })

	// A dead credential holds its account, nobody else, and flows by itself once it works again.
	b.control(ctx, http.MethodPost, "/followupboss/faults", `{"account":"lakeshore","fault":"unauthorized"}`, nil)
	b.put(ctx, mine, `{"status":"Pending"}`)
	b.await("the hold", func() bool { return len(b.held(ctx, "followupboss", "lakeshore")) > 0 })
	for _, h := range b.held(ctx, "followupboss", "lakeshore") {
		require.Equal(t, heldLine{Kind: "held", Cause: "account refused", Scope: "account:lakeshore/followupboss/main", Key: h.Key, Count: h.Count}, h)
	}
	b.put(ctx, mine, `{"status":"Closed","actualClosingDate":"2026-11-01T00:00:00"}`)
	b.put(ctx, other, `{"status":"Pending"}`)
	b.await("the other brokerage's stage", func() bool { return b.stage(ctx, other) == "Under Contract" })
	require.NotEqual(t, "Closed", b.stage(ctx, mine))
	require.Contains(t, b.command(ctx, "why", "lakeshore"), "refuses account lakeshore/followupboss/main")
	b.control(ctx, http.MethodDelete, "/followupboss/faults", "", nil)
	b.await("the held stage", func() bool { return b.stage(ctx, mine) == "Closed" })

	// A renamed field parks the deal it touches; mended and released, it and what queued behind flow.
	third, fourth := b.sale(ctx, "lakeshore", 3), b.sale(ctx, "redrock", 4)
	b.await("both deals in the CRM", func() bool { return b.known(ctx, third) && b.known(ctx, fourth) })
	b.control(ctx, http.MethodPost, "/skyslope/faults", `{"account":"lakeshore","match":"GET /api/files*","fault":"rename:status=transaction_status"}`, nil)
	b.put(ctx, third, `{"status":"Pending"}`)
	parked := func() heldLine { // a poll's overlap reads the brokerage's other deal with the new name, too
		for _, h := range b.held(ctx, "translate", "lakeshore") {
			if strings.HasSuffix(h.Key, third.guid) {
				return h
			}
		}
		return heldLine{}
	}
	b.await("the park", func() bool { return parked().Count == 1 })
	b.put(ctx, third, `{"status":"Closed","actualClosingDate":"2026-11-02T00:00:00"}`)
	b.await("what queues behind it", func() bool { return parked().Count == 2 })
	require.Equal(t, "parked", parked().Kind)
	require.Equal(t, "contract broken: /status", parked().Cause)
	b.put(ctx, fourth, `{"status":"Pending"}`)
	b.await("the other brokerage's stage", func() bool { return b.stage(ctx, fourth) == "Under Contract" })

	file := filepath.Join(b.Dir, "tenants", "lakeshore.yaml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	mended := strings.Replace(string(text), "-skyslope.json}\n", "-skyslope.json}\n    settings: {renamed: {transaction_status: status}}\n", 1)
	require.NotEqual(t, string(text), mended)
	require.NoError(t, os.WriteFile(file, []byte(mended), 0o600))
	b.command(ctx, "tenant", "apply", "-f", filepath.Join(b.Dir, "tenants"))
	b.await("the released deal", func() bool {
		b.command(ctx, "held", "release", "--adapter", "translate", "--tenant", "lakeshore")
		return b.stage(ctx, third) == "Closed"
	})
	b.settled(ctx)
}
