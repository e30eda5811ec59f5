package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"conveyance/internal/stream"
	"conveyance/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// metricsFile lists every metric of every process; the tests of compose hold dashboards and alerts
// against it.
const metricsFile = "../../compose/prometheus/metrics.txt"

// described takes a metric's name, help, constant and variable labels from what it prints as.
var described = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "(.*?)"(?:, unit: "[^"]*")?, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

func TestMetricsAreThoseThatAreListed(t *testing.T) {
	t.Parallel()
	found := map[string]string{}
	for name, build := range map[string]func(context.Context, *environs) ([]part, error){
		"ingest":    (&ingestCmd{Listen: "127.0.0.1:0"}).build,
		"fetch":     (&fetchCmd{}).build,
		"translate": (&translateCmd{}).build,
		"adapter": func(ctx context.Context, rt *environs) (all []part, err error) {
			for _, d := range destinations() {
				if all, err = (&adapterCmd{From: "earliest"}).build(ctx, rt, d, stream.Start{}); err != nil {
					break
				}
			}
			return all, err
		},
	} {
		for _, line := range metricsOf(t, name, build) {
			metric, _, _ := strings.Cut(line, " ")
			found[metric] = line
		}
	}
	lines := slices.Sorted(maps.Values(found))
	text := "# Every metric of every process, with its labels. Made by: go test ./cmd/conveyance -run TestMetrics -update\n" +
		strings.Join(lines, "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile(metricsFile, []byte(text), 0o644))
	}
	want, err := os.ReadFile(metricsFile)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "run this test with -update, and look whether dashboards and alerts should show what is new")
}

// metricsOf builds a stage as its process does, and asks what it has registered.
func metricsOf(t *testing.T, name string, build func(context.Context, *environs) ([]part, error)) (lines []string) {
	t.Helper()
	url := testkit.Database(t)
	require.NoError(t, migrateAll(t.Context(), url))
	nobody := "127.0.0.1:1"
	g := &globals{Kafka: nobody, RegistryURL: "http://" + nobody, PostgresURL: url, TopicPrefix: "metrics.", errOut: io.Discard}
	rt, err := openEnvirons(t.Context(), g, stageFlags{}, name, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(rt.close)
	_, err = build(t.Context(), rt)
	require.NoError(t, err)
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		rt.metrics.Describe(descs)
	}()
	for d := range descs {
		parts := described.FindStringSubmatch(d.String())
		require.NotNil(t, parts, d.String())
		if !strings.HasPrefix(parts[1], "conveyance_") {
			continue // the runtime's
		}
		var labels []string
		for _, l := range strings.Split(parts[3]+","+parts[4], ",") {
			if l, _, _ = strings.Cut(strings.TrimSpace(l), "="); l != "" {
				labels = append(labels, l)
			}
		}
		lines = append(lines, fmt.Sprintf("%s{%s} %s", parts[1], strings.Join(labels, ","), parts[2]))
	}
	return lines
}
