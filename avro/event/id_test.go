package event

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var sale = Resource{Tenant: "lakeshore", Vendor: "skyslope", Account: "main", Kind: "sale", ID: "7f3c"}

// Ids stand in ledgers and topics that are kept for years: these may never change. The values were
// computed apart from this package, from its documentation.
func TestIDsOfTheseEventsAreForEver(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)
	for _, c := range []struct {
		at       time.Time
		revision int64
		typ      Type
		subject  string
		want     string
	}{
		{at, 1, TypeDealChanged, "", "019cece5-2687-8972-aa3c-4c0869ac7c0a"},
		{at, 2, TypeDealChanged, "", "019cece5-2687-8bdf-9af6-a4f042a6c75b"},
		{at, 1, TypeContactChanged, "kX0", "019cece5-2687-89e4-b094-f60423b6aa12"},
		{time.UnixMilli(0), 1, TypeDealChanged, "", "00000000-0000-8972-aa3c-4c0869ac7c0a"},
	} {
		require.Equal(t, c.want, ID(c.at, sale, c.revision, c.typ, c.subject).String())
	}
}

func resources() *rapid.Generator[Resource] {
	// Few letters, so that parts which run together would meet; and what escaping must keep apart.
	part := rapid.StringMatching(`[ab/%.: é]{0,4}`)
	return rapid.Custom(func(t *rapid.T) Resource {
		return Resource{
			Tenant: part.Draw(t, "tenant"), Vendor: part.Draw(t, "vendor"), Account: part.Draw(t, "account"),
			Kind: part.Draw(t, "kind"), ID: part.Draw(t, "id"),
		}
	})
}

func TestIDDependsOnEachPartAloneAndOnNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type parts struct {
			r        Resource
			revision int64
			typ      Type
			subject  string
		}
		draw := func(name string) parts {
			return parts{
				resources().Draw(t, name), rapid.Int64Range(1, 3).Draw(t, name),
				rapid.SampledFrom(Types()).Draw(t, name), rapid.StringMatching(`[ab/]{0,3}`).Draw(t, name),
			}
		}
		a, b := draw("a"), draw("b")
		at := time.UnixMilli(rapid.Int64Range(0, 1<<48-1).Draw(t, "at"))
		x := ID(at, a.r, a.revision, a.typ, a.subject)
		y := ID(at, b.r, b.revision, b.typ, b.subject)
		require.Equal(t, a == b, x == y)
		require.Equal(t, x, ID(at.Add(999*time.Microsecond), a.r, a.revision, a.typ, a.subject), "milliseconds count")
	})
}

// The subject ends where the revision begins and the key where the type begins: moving letters from
// one part to its neighbour makes another id.
func TestLengthsKeepThePartsApart(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1)
	shifted := sale
	shifted.Tenant, shifted.Vendor = "lakeshore/skyslope", ""
	require.NotEqual(t, ID(at, sale, 1, "Deal", "Changed"), ID(at, sale, 1, "DealChanged", ""))
	require.NotEqual(t, ID(at, sale, 1, "D", ""), ID(at, shifted, 1, "D", ""))
	require.NotEqual(t, ID(at, Resource{Tenant: "a", Vendor: "b"}, 1, "", ""),
		ID(at, Resource{Tenant: "ab"}, 1, "", ""))
}

func TestIDCarriesItsTimeAndSortsByIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(0, 1<<48-2).Draw(t, "ms")
		r := resources().Draw(t, "resource")
		id := ID(time.UnixMilli(ms), r, 1, TypeDealChanged, "")
		require.Equal(t, time.UnixMilli(ms).UTC(), IDTime(id))
		require.Equal(t, uuid.Version(8), id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
		later := ID(time.UnixMilli(ms+1), r, 1, TypeDealChanged, "")
		require.Less(t, id.String(), later.String(), "inserts run at the right edge of the index")
		read, err := uuid.Parse(id.String())
		require.NoError(t, err)
		require.Equal(t, id, read)
	})
}
