package stream

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

// metrics of one engine. The group is a constant label, so that several engines share a registry.
type metrics struct {
	records *prometheus.CounterVec // conveyance_records_total{verdict,cause}: what records came to
	effects *prometheus.CounterVec // conveyance_effects_total{verb,class,outcome}: what calls came to
	held    *prometheus.GaugeVec   // conveyance_held{kind}: open records in the queue of claimed partitions
	stalled prometheus.Gauge       // conveyance_stalled: partitions that wait for the world
	fenced  prometheus.Counter     // conveyance_fenced_total: claims that somebody else took over
	flush   prometheus.Histogram   // conveyance_flush_seconds: one numbered transaction
	lag     prometheus.Gauge       // conveyance_lag_records: records between watermark and log end
}

func newMetrics(reg prometheus.Registerer, group string) (*metrics, error) {
	label := prometheus.Labels{"group": group}
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "conveyance_records_total", ConstLabels: label,
			Help: "Records by verdict and cause.",
		}, []string{"verdict", "cause"}),
		effects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "conveyance_effects_total", ConstLabels: label,
			Help: "Effects by verb, class and outcome.",
		}, []string{"verb", "class", "outcome"}),
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "conveyance_held", ConstLabels: label,
			Help: "Open records in the queue of claimed partitions, by kind.",
		}, []string{"kind"}),
		stalled: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "conveyance_stalled", ConstLabels: label,
			Help: "Partitions that wait for what is wrong for all.",
		}),
		fenced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "conveyance_fenced_total", ConstLabels: label,
			Help: "Claims that another owner took over while they were in use.",
		}),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "conveyance_flush_seconds", ConstLabels: label,
			Help: "Duration of one numbered transaction.", Buckets: prometheus.ExponentialBuckets(.001, 2, 12),
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "conveyance_lag_records", ConstLabels: label,
			Help: "Records between the stored offset and the log end of claimed partitions.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(
		register(reg, &m.records),
		register(reg, &m.effects),
		register(reg, &m.held),
		register(reg, &m.stalled),
		register(reg, &m.fenced),
		register(reg, &m.flush),
		register(reg, &m.lag),
	)
}

// register adds a collector, or takes the one that an engine of the same group has added before.
func register[T prometheus.Collector](reg prometheus.Registerer, c *T) error {
	err := reg.Register(*c)
	if again, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		*c = again.ExistingCollector.(T)
		return nil
	}
	return err
}

func (m *metrics) record(v *verdict.Error) {
	if v == nil {
		m.records.WithLabelValues(verdict.Done.String(), "").Inc()
		return
	}
	m.records.WithLabelValues(v.Kind.String(), v.Cause).Inc()
}

func (m *metrics) effect(f ledger.Effect, outcome string) {
	m.effects.WithLabelValues(f.Verb, string(f.Class), outcome).Inc()
}
