package fetch

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the stage's. Rates by vendor only; ages by account, since one silent account is what a
// person looks for.
type metrics struct {
	fetches   *prometheus.CounterVec
	facts     *prometheus.CounterVec
	unchanged *prometheus.CounterVec
	olds      *prometheus.CounterVec
	dirty     *prometheus.GaugeVec
	polls     *prometheus.CounterVec
	pollAge   *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "conveyance_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "conveyance_" + name, Help: help}, labels)
	}
	m := &metrics{
		fetches:   counter("fetch_total", "Records read, by what came of it.", "vendor", "outcome"),
		facts:     counter("fetch_facts_total", "Records that came with a webhook or in a list, by what came of them.", "vendor", "outcome"),
		unchanged: counter("fetch_unchanged_total", "Records read that were as they were held.", "vendor"),
		olds:      counter("fetch_stale_total", "Answers older than what was known.", "vendor"),
		dirty:     gauge("fetch_dirty", "Records that wait to be read.", "vendor", "lane"),
		polls:     counter("poll_total", "Polls, by what came of them.", "vendor", "outcome"),
		pollAge:   gauge("poll_age_seconds", "Time since the start of the last poll that reached its end.", "account"),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.fetches), r.Register(m.facts), r.Register(m.unchanged), r.Register(m.olds),
		r.Register(m.dirty), r.Register(m.polls), r.Register(m.pollAge))
}

func (m *metrics) fetched(vendor, outcome string) {
	m.fetches.WithLabelValues(vendor, outcome).Inc()
	if outcome == outcomeUnchanged {
		m.unchanged.WithLabelValues(vendor).Inc()
	}
}

func (m *metrics) stale(vendor string) { m.olds.WithLabelValues(vendor).Inc() }

// came counts records that came by themselves.
func (m *metrics) came(vendor string, in incoming) {
	m.facts.WithLabelValues(vendor, outcomeEmitted).Add(float64(len(in.begun)))
	m.facts.WithLabelValues(vendor, outcomeUnchanged).Add(float64(in.unchanged))
	m.facts.WithLabelValues(vendor, "hint").Add(float64(len(in.hints)))
}

// lacked counts records that came with webhooks, not whole, and could not be completed.
func (m *metrics) lacked(vendor string, n int) {
	m.facts.WithLabelValues(vendor, "lacking").Add(float64(n))
}

func (m *metrics) polled(vendor, outcome string) { m.polls.WithLabelValues(vendor, outcome).Inc() }
