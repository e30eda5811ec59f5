package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/processors/translate"
	"conveyance/producers"
)

func TestDriftIsALineEachAndItsRemedy(t *testing.T) {
	t.Parallel()
	now := time.Now()
	all := []translate.Drift{
		{
			Vendor: "skyslope", Path: "/status", Kind: producers.DriftUnknownValue, What: "Attorney \x1b[31m", Count: 12,
			First: now.Add(-time.Hour), Last: now.Add(-time.Minute),
		},
		{Vendor: "skyslope", Path: "/col\x1bour", Kind: producers.DriftUnknownField, Count: 1, First: now, Last: now},
	}
	var out bytes.Buffer
	printDrift(&out, all)
	require.Equal(t, `
drift of skyslope: unknown-value at /status ("Attorney \x1b[31m"), 12 times, first 1h0m0s ago, last 1m0s ago
drift of skyslope: unknown-field at /col\x1bour, 1 times, first 0s ago, last 0s ago
`+driftRemedy+"\n", out.String())
	require.True(t, statusOf{Drift: all}.needsPerson())
	require.False(t, statusOf{Drift: all[1:]}.needsPerson(), "a new field takes nothing away")
	out.Reset()
	printDrift(&out, nil)
	require.Empty(t, out.String())
}
