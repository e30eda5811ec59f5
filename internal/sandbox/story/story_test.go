package story

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox/world"
)

func tenants() []world.Tenant {
	var out []world.Tenant
	for _, id := range []string{"lakeshore", "redrock"} {
		out = append(out, world.Tenant{ID: id, Accounts: []world.Account{{Vendor: "skyslope", Name: "main"}, {Vendor: "followupboss", Name: "main"}}})
	}
	return out
}

// lives are the changes of each deal in order.
func lives(steps []Step) map[string][]Change {
	out := map[string][]Change{}
	for _, s := range steps {
		for _, c := range s {
			out[c.GUID] = append(out[c.GUID], c)
		}
	}
	return out
}

func TestSameSeedMakesTheSameStory(t *testing.T) {
	t.Parallel()
	one, again := Plan(tenants(), 7, 100), Plan(tenants(), 7, 100)
	require.Equal(t, one, again)
	require.NotEqual(t, one, Plan(tenants(), 8, 100))
	require.Empty(t, Plan(nil, 7, 100))
	for _, n := range []int{1, 2, 3, 200} {
		require.Len(t, lives(Plan(tenants(), 7, n)), n)
	}
}

func TestLivesShowEverythingThatHappensToDeals(t *testing.T) {
	t.Parallel()
	seen, last, tenants := map[string]int{}, map[string]int{}, tenants()
	perTenant := map[string]int{}
	steps := Plan(tenants, 7, 200)
	for _, changes := range lives(steps) {
		perTenant[changes[0].Tenant]++
		status := ""
		for i, c := range changes {
			if s, ok := c.Patch["status"].(string); ok {
				seen[s]++
				if status == lostLate && s == pending {
					seen["reopened"]++
				}
				status = s
			} else {
				require.NotZero(t, i, "the first change has a status")
				seen["no status"]++
			}
			for _, key := range []string{"salePrice", "escrowClosingDate", "commission", "coAgentGuids", "escrowContact", "buyers"} {
				if _, ok := c.Patch[key]; ok && i > 0 {
					seen[key]++
				}
			}
			if _, isText := c.Patch["salePrice"].(string); isText {
				seen["text"]++
			}
		}
		last[status]++
	}
	for _, what := range []string{
		incomplete, preContract, pending, closed, lostEarly, lostLate, expired, archived, unknown, "reopened", "no status",
		"salePrice", "escrowClosingDate", "commission", "coAgentGuids", "escrowContact", "buyers", "text",
	} {
		require.NotZero(t, seen[what], what)
	}
	require.Zero(t, last[unknown], "nobody stays in a status that nobody knows")
	require.Greater(t, last[closed], 100, "most deals close")
	require.InDelta(t, perTenant["lakeshore"], perTenant["redrock"], 40)
}

// clients are the e-mails and telephones of the represented side.
func clients(c Change) []string {
	side := "sellers"
	if strings.HasPrefix(c.Patch["dealType"].(string), "Purchase") {
		side = "buyers"
	}
	var out []string
	for _, p := range c.Patch[side].([]any) {
		m := p.(map[string]any)
		out = append(out, m["email"].(string)+m["phoneNumber"].(string))
	}
	return out
}

func TestSomePeopleAreInTwoDealsAtOneMoment(t *testing.T) {
	t.Parallel()
	twins := 0
	for _, s := range Plan(tenants(), 7, 200) {
		if len(s) < 2 {
			continue
		}
		twins++
		require.Len(t, s, 2)
		require.Equal(t, s[0].Tenant, s[1].Tenant)
		require.Contains(t, clients(s[1]), clients(s[0])[0])
	}
	require.Greater(t, twins, 10)
}

func TestEverybodyCanBeReachedAndNobodySharesAnAddress(t *testing.T) {
	t.Parallel()
	owner, names := map[string]string{}, 0
	bad := map[string]int{}
	for _, changes := range lives(Plan(tenants(), 7, 400)) {
		for _, side := range []string{"buyers", "sellers"} {
			seen := map[string]bool{}
			for _, p := range changes[0].Patch[side].([]any) {
				m := p.(map[string]any)
				name := m["firstName"].(string) + " " + m["lastName"].(string)
				mail, tel := m["email"].(string), m["phoneNumber"].(string)
				if name == " " {
					bad["empty"]++
					continue
				}
				if seen[mail+tel] {
					bad["twice"]++
				}
				if notes, _ := m["notes"].(string); strings.Contains(notes, "\u0001") {
					bad["control"]++
				}
				if mail != strings.ToLower(mail) {
					bad["capital"]++
				}
				if mail == "" {
					bad["phone only"]++
				}
				seen[mail+tel] = true
				require.NotEmpty(t, mail+tel)
				for _, address := range []string{mail, tel} {
					if address != "" {
						require.Contains(t, []string{"", name}, owner[address])
						owner[address] = name
						names++
					}
				}
				if mail != "" {
					require.Regexp(t, `@(mail\.example\.com|post\.example\.org|home\.test)$`, mail)
				}
				if tel != "" {
					require.Contains(t, tel, "555")
				}
			}
		}
	}
	require.Greater(t, names, 800)
	for _, what := range []string{"empty", "twice", "control", "capital", "phone only"} {
		require.NotZero(t, bad[what], what)
	}
}

func TestChangesOfOneDealLieApart(t *testing.T) {
	t.Parallel()
	last, near := map[string]int{}, 0
	steps := Plan(tenants(), 7, 200)
	for i, s := range steps {
		for _, c := range s {
			if before, ok := last[c.GUID]; ok && i-before < 2 {
				near++
			}
			last[c.GUID] = i
		}
	}
	require.Less(t, near, len(steps)/5)
}

func BenchmarkPlan(b *testing.B) {
	for b.Loop() {
		Plan(tenants(), 7, 200)
	}
}
