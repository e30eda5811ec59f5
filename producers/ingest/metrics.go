package ingest

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// outcomeAccepted is the outcome of what is on the bus; the others are why it is not.
const outcomeAccepted = "accepted"

// metrics are the door's. No label holds anything that a stranger sends.
type metrics struct {
	answers *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	late    *prometheus.CounterVec
	keyUsed *prometheus.GaugeVec
	lastAt  *prometheus.GaugeVec
	alarms  *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer, d *Door) (*metrics, error) {
	name := func(n string) string { return "conveyance_webhook_" + n }
	gauge := func(n, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name(n), Help: help}, labels)
	}
	counter := func(n, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name(n), Help: help}, labels)
	}
	m := &metrics{
		answers: counter("deliveries_total", "Deliveries by what became of them: accepted, or why not.", "vendor", "outcome"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name("answer_seconds"), Help: "From a delivery's first byte to our 2xx.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"vendor"}),
		late:    counter("late_acks_total", "Deliveries answered 503 in flight, by what Kafka said afterwards.", "vendor", "outcome"),
		keyUsed: gauge("key_last_used_timestamp_seconds", "When a key last signed a delivery, at any door.", "vendor", "account", "key"),
		lastAt:  gauge("last_timestamp_seconds", "When an account's last signed delivery came, at any door.", "vendor", "account"),
		alarms:  gauge("alarm", "1 while an account is silent, or its signatures are refused.", "vendor", "account", "kind"),
	}
	if r == nil {
		return m, nil
	}
	used := func(n, help string, of *room) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name(n), Help: help}, func() float64 { return float64(of.used.Load()) })
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.answers, m.seconds, m.late, m.keyUsed, m.lastAt, m.alarms,
		used("in_flight_records", "Deliveries that Kafka has not acknowledged yet.", d.records),
		used("in_flight_bytes", "Their bytes.", d.bytes),
		used("reading_bytes", "Memory of large bodies that are coming in.", d.reading),
	} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) answered(vendor, outcome string, took time.Duration) {
	m.answers.WithLabelValues(vendor, outcome).Inc()
	if outcome == outcomeAccepted {
		m.seconds.WithLabelValues(vendor).Observe(took.Seconds())
	}
}

func (m *metrics) landedLate(vendor string, err error) {
	outcome := outcomeAccepted
	if err != nil {
		outcome = "unknown"
	}
	m.late.WithLabelValues(vendor, outcome).Inc()
}
