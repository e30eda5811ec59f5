// Package story makes up whole lives of deals in the transaction system, the same for the same
// tenants and seed: most go from Pre-Contract over Pending to Closed; some are cancelled, expire,
// open again, are put away, or stand in a status that nobody knows for a while. In between prices,
// dates, commissions, agents and participants change. Some people are in two deals that begin at one
// moment. Records are as bad as real ones: empty and repeated participants, amounts as text, control
// characters, e-mails in capitals.
//
// dealType says which side the brokerage represents: what begins with Purchase the buyers', Listing
// and Sale the sellers'. Every deal has a price, and everybody on the represented side an e-mail or a
// telephone number that nobody else has.
//
// Where a tenant has a DocuSign account, each of its deals has an envelope that is sent and signed,
// half of them before the deal begins; what ties it to its deal differs (evidence.go). The deals are the
// same with and without.
package story

import (
	"math/rand/v2"

	"conveyance/internal/sandbox/world"
)

const (
	// DealsMax bounds a story: it is made up as a whole before it begins.
	DealsMax = 20_000
	// activeMax is how many deals are alive at a time; with it two changes of one deal lie about as
	// many steps apart.
	activeMax = 12
)

// Change is a patch to one record: a sale of skyslope's or an envelope of docusign's, by their kinds.
type Change struct {
	Vendor, Kind          string
	Tenant, Account, GUID string
	Patch                 map[string]any
}

// Step is what happens at one moment: one change, or the beginnings of two deals that share a person.
type Step []Change

// Plan makes up a story. Tenants without a SkySlope account are left out; with none there is no story.
func Plan(tenants []world.Tenant, seed int64, deals int) []Step {
	accounts := world.Accounts(tenants, "skyslope")
	if len(accounts) == 0 {
		return nil
	}
	t := &teller{
		rng:  rand.New(rand.NewPCG(uint64(seed), 0xdea1)), //nolint:gosec // G404, G115: a story, not a secret
		seed: seed, accounts: accounts,
	}
	for t.deals < deals {
		t.begin(deals - t.deals)
	}
	return withEnvelopes(tenants, seed, t.weave())
}

// teller makes a story up.
type teller struct {
	rng      *rand.Rand
	seed     int64
	accounts []world.Account
	deals    int // made up so far
	people   int
	threads  []thread
}

// thread is one deal, or two that begin together: the moment of beginning, and each deal's later
// changes in order.
type thread struct {
	start Step
	rest  [][]Change
}

// begin makes up one deal, or two with a common client where two are left.
func (t *teller) begin(left int) {
	a := t.accounts[t.deals%len(t.accounts)]
	one := t.deal(a)
	lives := [][]Change{one.life()}
	if left > 1 && t.chance(15) {
		two := t.deal(a)
		two.meet(one)
		lives = append(lives, two.life())
	}
	th := thread{}
	for _, l := range lives {
		th.start = append(th.start, l[0])
		th.rest = append(th.rest, l[1:])
	}
	t.threads = append(t.threads, th)
}

// weave lays the threads side by side: at most activeMax deals at a time, each in its own order.
func (t *teller) weave() []Step {
	var steps []Step
	var active [][]Change
	for len(t.threads) > 0 || len(active) > 0 {
		if len(t.threads) > 0 && len(active) < activeMax {
			steps = append(steps, t.threads[0].start)
			for _, rest := range t.threads[0].rest {
				if len(rest) > 0 {
					active = append(active, rest)
				}
			}
			t.threads = t.threads[1:]
			continue
		}
		i := t.rng.IntN(len(active))
		steps = append(steps, Step{active[i][0]})
		if active[i] = active[i][1:]; len(active[i]) == 0 {
			active[i] = active[len(active)-1]
			active = active[:len(active)-1]
		}
	}
	return steps
}

// chance is true in so many of a hundred cases.
func (t *teller) chance(percent int) bool { return t.rng.IntN(100) < percent }

func pick[T any](t *teller, from []T) T { return from[t.rng.IntN(len(from))] }
