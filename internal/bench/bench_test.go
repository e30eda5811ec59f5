package bench_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/bench"
)

func TestEveryBenchmarkMeasuresBothSides(t *testing.T) {
	t.Parallel()
	var got []string
	err := bench.Run(t.Context(), bench.Options{
		Records: 300, Rounds: 1, Seconds: 1, Dir: t.TempDir(), Notes: io.Discard,
		Report: func(r bench.Result) error {
			got = append(got, r.Name)
			require.Positive(t, r.Ours, r.Name)
			require.Positive(t, r.Ceiling, r.Name)
			require.Positive(t, r.Ratio, r.Name)
			return nil
		},
	})
	require.NoError(t, err)
	require.Equal(t, bench.Names(), got)
}

func TestABenchmarkEndsAtItsLimitAndSaysWhereItStood(t *testing.T) {
	t.Parallel()
	err := bench.Run(t.Context(), bench.Options{Names: []string{"effects-100ms"}, Records: 6000, Rounds: 100, Limit: 4e9, Dir: t.TempDir()})
	require.ErrorContains(t, err, "measuring effects-100ms: it is not done within its limit of 4s")
}

func TestAnUnknownBenchmarkIsRefused(t *testing.T) {
	t.Parallel()
	err := bench.Run(t.Context(), bench.Options{Names: []string{"warp"}})
	require.ErrorContains(t, err, "no benchmark is called warp")
}
