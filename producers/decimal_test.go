package producers_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/producers"
)

func TestAmountsAreReadExactly(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{
		"450000": 45_000_000, "450000.5": 45_000_050, "0.29": 29, "1.1": 110, "-12.34": -1234, "$450,000.00": 45_000_000,
		"4.5e5": 45_000_000, "4.5E+05": 45_000_000, "45e-1": 450, "1e-9": 0, "0": 0, "00012": 1200,
		"0.005": 0, "0.015": 2, "0.025": 2, "0.0250001": 3, "2.675": 268, "-0.015": -2, "9999999999.99": 999_999_999_999,
	} {
		got, err := producers.ParseDecimal(in, 2)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"", "abc", "1.2.3", ".5", "5.", "--1", "1e", "1e99", "1e9999999999", "NaN", "0x10", "$", "1 000", strings.Repeat("9", 25)} {
		_, err := producers.ParseDecimal(in, 2)
		require.Error(t, err, in)
	}
}

func TestRoundingIsHalfToEvenAtAnyLength(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{1,12}(\.[0-9]{1,9})?(e[+-]?[0-3])?`).Draw(t, "text")
		got, err := producers.ParseDecimal(text, 2)
		require.NoError(t, err)
		exact, ok := new(big.Rat).SetString(text)
		require.True(t, ok)
		exact.Mul(exact, big.NewRat(100, 1))
		diff := new(big.Rat).Sub(exact, big.NewRat(got, 1))
		half := diff.Abs(diff).Cmp(big.NewRat(1, 2))
		require.LessOrEqual(t, half, 0, "%s became %d", text, got)
		require.True(t, half < 0 || got%2 == 0, "%s became %d", text, got)
	})
}
