package budget_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/budget"
)

func TestCallsAreLiveUnlessTheirContextSaysOtherwise(t *testing.T) {
	t.Parallel()
	require.Equal(t, budget.LaneLive, budget.LaneOf(t.Context()))
	require.Equal(t, budget.LaneBackfill, budget.LaneOf(budget.WithLane(t.Context(), budget.LaneBackfill)))
}
