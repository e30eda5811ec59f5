package compose

import (
	"bufio"
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// functions are Prometheus's that we use. The parser also knows functions that Prometheus does not.
var functions = []string{"absent", "deriv", "histogram_quantile", "increase", "max", "min", "rate", "sum", "time", "topk"}

// added are labels that scraping and histograms add to every metric.
var added = []string{"job", "instance", "stage", "le"}

// others are metrics that are not ours: Prometheus's and the Go client's.
var others = map[string][]string{
	"up": nil, "process_resident_memory_bytes": nil, "process_cpu_seconds_total": nil,
}

// scraped are the services that prometheus.yml asks.
func scraped(t *testing.T) (names []string) {
	t.Helper()
	var config struct {
		RuleFiles []string `json:"rule_files"`
		Scrape    []struct {
			DNS []struct{ Names []string } `json:"dns_sd_configs"`
		} `json:"scrape_configs"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "prometheus/prometheus.yml")), &config))
	require.Equal(t, []string{"/etc/prometheus/alerts.yml"}, config.RuleFiles)
	for _, job := range config.Scrape {
		for _, d := range job.DNS {
			names = append(names, d.Names...)
		}
	}
	require.NotEmpty(t, names)
	return names
}

// metrics are those that the product's processes register, with their labels; a test of cmd/conveyance
// holds the list against them.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	line := regexp.MustCompile(`^(\w+)\{(.*?)\} .`)
	lines := bufio.NewScanner(strings.NewReader(read(t, "prometheus/metrics.txt")))
	for lines.Scan() {
		if parts := line.FindStringSubmatch(lines.Text()); parts != nil {
			all[parts[1]] = strings.Split(parts[2], ",")
		}
	}
	require.Greater(t, len(all), 20)
	return all
}

type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string  `json:"name"`
			Rules []alert `json:"rules"`
		} `json:"groups"`
	}
	require.NoError(t, yaml.UnmarshalStrict([]byte(read(t, "prometheus/alerts.yml")), &file))
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

type dashboard struct {
	UID    string `json:"uid"`
	Panels []struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		Datasource  struct{ UID string }
		Targets     []struct{ Expr, LegendFormat string }
	} `json:"panels"`
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("grafana/dashboards/*.json")
	require.NoError(t, err)
	all := map[string]dashboard{}
	for _, file := range files {
		var d dashboard
		require.NoError(t, json.Unmarshal([]byte(read(t, file)), &d), file)
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = d
	}
	return all
}

// requireExpr fails where an expression does not parse, or names a metric or label that nobody serves.
func requireExpr(t *testing.T, where, text string) {
	t.Helper()
	expr, err := metricsql.Parse(text)
	require.NoError(t, err, "%s: %s", where, text)
	var of []string // labels that the expression's metrics have
	var by []string
	metricsql.VisitAll(expr, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			of = append(of, requireMetric(t, where, e)...)
		case *metricsql.FuncExpr:
			require.Contains(t, functions, e.Name, "%s: %s", where, text)
			if slices.Contains([]string{"rate", "increase", "deriv"}, e.Name) {
				r, ok := e.Args[0].(*metricsql.RollupExpr)
				require.True(t, ok && r.Window != nil, "%s: %s() lacks its window", where, e.Name)
			}
		case *metricsql.AggrFuncExpr:
			require.Contains(t, functions, e.Name, "%s: %s", where, text)
			by = append(by, e.Modifier.Args...)
		}
	})
	for _, label := range by {
		require.Contains(t, append(of, added...), label, "%s: %s", where, text)
	}
}

func requireMetric(t *testing.T, where string, e *metricsql.MetricExpr) (labels []string) {
	t.Helper()
	require.Len(t, e.LabelFilterss, 1, where)
	filters := e.LabelFilterss[0]
	require.Equal(t, "__name__", filters[0].Label, where)
	name := filters[0].Value
	plain := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
	labels, ours := metrics(t)[plain]
	if !ours {
		_, other := others[name]
		require.True(t, other, "%s: no process serves %s", where, name)
	}
	require.Equal(t, ours && strings.HasSuffix(plain, "_seconds") && plain != name, plain != name, "%s: %s is no histogram", where, name)
	for _, f := range filters[1:] {
		require.Contains(t, append(labels, added...), f.Label, "%s: %s", where, name)
	}
	return labels
}

var labelOf = regexp.MustCompile(`\{\{ ?\$labels\.(\w+) ?\}\}`)

func TestEveryAlertParsesAndSaysWhatAPersonDoes(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, a := range alerts(t) {
		require.False(t, seen[a.Alert], a.Alert)
		seen[a.Alert] = true
		requireExpr(t, a.Alert, a.Expr)
		require.Contains(t, []string{"page", "ticket"}, a.Labels["severity"], a.Alert)
		require.NotEmpty(t, a.Annotations["summary"], a.Alert)
		require.Greater(t, len(a.Annotations["runbook"]), 40, a.Alert)
		for _, text := range a.Annotations {
			for _, l := range labelOf.FindAllStringSubmatch(text, -1) {
				require.Contains(t, a.Expr+"stage instance", l[1], "%s: the expression drops the label", a.Alert)
			}
		}
	}
}

// A runbook names commands; those that are gone must not stay in it.
func TestRunbooksNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	command := regexp.MustCompile(`(?:conveyance )(held|tenant|link|topics|schema)? ?([a-z]+)`)
	for _, a := range alerts(t) {
		for _, words := range command.FindAllStringSubmatch(a.Annotations["runbook"], -1) {
			args := slices.DeleteFunc([]string{words[1], words[2], "--help"}, func(s string) bool { return s == "" })
			code, _, errs := run(t, args, nil)
			require.Zero(t, code, "%s: %s: %s", a.Alert, words[0], errs)
		}
	}
}

func TestDashboardsShowMetricsThatExist(t *testing.T) {
	t.Parallel()
	all := dashboards(t)
	for _, name := range []string{"lag", "held", "effects", "ingest"} {
		require.Contains(t, all, name)
	}
	legend := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for name, d := range all {
		require.Equal(t, "conveyance-"+name, d.UID)
		require.NotEmpty(t, d.Panels)
		for _, p := range d.Panels {
			require.NotEmpty(t, p.Description, "%s: %s", name, p.Title)
			require.Equal(t, "prometheus", p.Datasource.UID, "%s: %s", name, p.Title)
			require.NotEmpty(t, p.Targets, "%s: %s", name, p.Title)
			for _, target := range p.Targets {
				requireExpr(t, name+": "+p.Title, target.Expr)
				for _, l := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
					require.Contains(t, target.Expr+" stage", l[1], "%s: %s: the expression drops the label", name, p.Title)
				}
			}
		}
	}
}

// Whoever adds a metric decides whether a person must see it.
func TestMetricsThatNobodyShowsAreNamed(t *testing.T) {
	t.Parallel()
	quiet := []string{
		"conveyance_fetch_facts_total", "conveyance_fetch_stale_total", "conveyance_fetch_unchanged_total", "conveyance_poll_total",
		"conveyance_tenant_failed_looks_total", "conveyance_tenant_failed_notes_total", "conveyance_tenant_stale_reads_total",
		"conveyance_webhook_in_flight_bytes", "conveyance_webhook_key_last_used_timestamp_seconds",
		"conveyance_webhook_late_acks_total", "conveyance_webhook_reading_bytes",
	}
	shown := read(t, "prometheus/alerts.yml")
	for name := range dashboards(t) {
		shown = strings.Join([]string{shown, read(t, "grafana/dashboards/"+name+".json")}, "\n")
	}
	for name := range metrics(t) {
		require.NotEqual(t, slices.Contains(quiet, name), strings.Contains(shown, name), name)
	}
}
