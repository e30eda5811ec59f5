package producerstest

import (
	"strings"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/producers"
)

// Pure maps a snapshot twice, made anew each time, and holds that both say the same and that a refusal
// names the path that broke. It returns false for one that was refused.
func Pure(t require.TestingT, m producers.Mapper, snapshot func() event.VendorSnapshot) (producers.Facts, bool) {
	facts, err := m.Map(snapshot())
	again, err2 := m.Map(snapshot())
	require.Equal(t, facts, again)
	require.Equal(t, err, err2)
	if err != nil {
		var broken *producers.ContractError
		require.ErrorAs(t, err, &broken)
		require.True(t, strings.HasPrefix(broken.Path, "/"))
		return facts, false
	}
	return facts, true
}
