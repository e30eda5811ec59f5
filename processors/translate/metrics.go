package translate

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	snapshots *prometheus.CounterVec
	drift     *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		snapshots: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "conveyance_translate_snapshots_total",
			Help: "Snapshots that were translated, by what they came to: changed, unchanged, gone, older, waiting for a deal, relinked.",
		}, []string{"vendor", "outcome"}),
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "conveyance_drift_total",
			Help: "Fields and values in accepted snapshots that the vendor's contract does not know.",
		}, []string{"vendor", "path", "kind", "what"}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.snapshots), r.Register(m.drift))
}

// count adds what a batch came to.
func (m *metrics) count(outcomes map[outcome]int, drifts map[drifted]int) {
	for o, n := range outcomes {
		m.snapshots.WithLabelValues(o.vendor, o.what).Add(float64(n))
	}
	for d, n := range drifts {
		m.drift.WithLabelValues(d.vendor, d.Path, d.Kind, d.What).Add(float64(n))
	}
}
