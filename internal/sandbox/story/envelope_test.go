package story

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox/world"
)

// signing are the tenants with a docusign account at the first.
func signing() []world.Tenant {
	ts := tenants()
	ts[0].Accounts = append(ts[0].Accounts, world.Account{Vendor: "docusign", Name: "main", Settings: map[string]string{"deal_field": "File No"}})
	return ts
}

func of(steps []Step, kind string) []Step {
	var out []Step
	for _, s := range steps {
		if s[0].Kind == kind {
			out = append(out, s)
		}
	}
	return out
}

func TestEnvelopesLeaveTheDealsAsTheyAre(t *testing.T) {
	t.Parallel()
	with, without := Plan(signing(), 7, 200), Plan(tenants(), 7, 200)
	require.Equal(t, without, of(with, "sales"))
	require.Empty(t, of(without, "envelopes"))
	require.Equal(t, with, Plan(signing(), 7, 200))
	for _, s := range of(with, "envelopes") {
		require.Equal(t, "lakeshore", s[0].Tenant)
		require.Equal(t, "docusign", s[0].Vendor)
	}
}

func TestHalfOfTheEnvelopesComeBeforeTheirDeals(t *testing.T) {
	t.Parallel()
	steps := Plan(signing(), 7, 400)
	first, last := map[string]int{}, map[string]int{} // by guid
	for i, s := range steps {
		for _, c := range s {
			if _, known := first[c.GUID]; !known {
				first[c.GUID] = i
			}
			last[c.GUID] = i
		}
	}
	before, after := 0, 0
	deals := subjects(of(steps, "sales"), "lakeshore")
	for _, d := range deals {
		e := world.GUID("envelope", "7", d.guid)
		switch {
		case last[e] < first[d.guid]:
			before++
		case first[e] > first[d.guid]:
			after++
		}
	}
	require.Equal(t, len(deals), before+after, "none is torn")
	require.InDelta(t, len(deals)/2, before, float64(len(deals))/8)
}

func TestEveryStepOfAnEnvelopeChangesItsStatus(t *testing.T) {
	t.Parallel()
	ends, fields, signers := map[string]int{}, map[string]int{}, map[int]int{}
	for _, changes := range lives(of(Plan(signing(), 7, 400), "envelopes")) {
		status := ""
		for i, c := range changes {
			require.NotEqual(t, status, c.Patch["status"])
			status = c.Patch["status"].(string)
			if i > 0 {
				continue
			}
			require.Equal(t, "sent", status)
			for _, f := range c.Patch["customFields"].(map[string]any)["textCustomFields"].([]any) {
				fields[f.(map[string]any)["name"].(string)]++
			}
			signers[len(c.Patch["recipients"].(map[string]any)["signers"].([]any))]++
			require.NotEmpty(t, c.Patch["envelopeDocuments"])
		}
		ends[status]++
	}
	for _, status := range []string{"completed", "declined", "voided"} {
		require.NotZero(t, ends[status], status)
	}
	for _, name := range []string{"File No", mlsField, escrowField, addressField} {
		require.NotZero(t, fields[name], name)
	}
	require.Len(t, signers, 2)
}

func TestNumberOfTwoDealsIsNoEvidence(t *testing.T) {
	t.Parallel()
	c := &clerk{rng: rand.New(rand.NewPCG(1, 2)), numbers: map[string]int{"M": 2, "E": 2, "own": 1}}
	seen := map[string]bool{}
	for n := range 500 {
		for name := range c.evidence(subject{guid: "g", mls: "M", escrow: "E"}, n).fields {
			seen[name] = true
		}
	}
	require.Equal(t, map[string]bool{dealField: true}, seen)
	for n := range 500 {
		for name := range c.evidence(subject{guid: "g", mls: "own", escrow: "E"}, n).fields {
			seen[name] = true
		}
	}
	require.True(t, seen[mlsField])
	require.False(t, seen[escrowField])
}
