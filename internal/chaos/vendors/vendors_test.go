package vendors_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/consumers/followupboss"
	"conveyance/internal/chaos/vendors"
	"conveyance/producers"
	"conveyance/producers/register"
)

func TestTableHasEveryFaultOfEveryVendorAtEveryTimeOnce(t *testing.T) {
	t.Parallel()
	cells, err := vendors.Cells()
	require.NoError(t, err)
	sources, err := register.Vendors(producers.Deps{})
	require.NoError(t, err)
	names := []string{followupboss.Name}
	for _, v := range sources {
		names = append(names, v.Name)
	}
	seen := map[string]int{}
	for _, c := range cells {
		require.NotEmpty(t, c.Ends, c.Name())
		seen[c.Name()]++
	}
	for _, f := range troubles("3") {
		for _, v := range names {
			for _, when := range []string{vendors.First, vendors.Mid, vendors.Forever} {
				name := vendors.Cell{Fault: f.name, Vendor: v, When: when}.Name()
				require.Equal(t, 1, seen[name], name)
				delete(seen, name)
			}
		}
	}
	require.Empty(t, seen)
	require.Len(t, cells, 26*3*len(names))
}
