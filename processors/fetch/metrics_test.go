package fetch

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// counter sums a metric over all of its labels.
func counter(t testing.TB, b *bench, name string) float64 {
	t.Helper()
	families, err := b.metrics.Gather()
	require.NoError(t, err)
	var sum float64
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
