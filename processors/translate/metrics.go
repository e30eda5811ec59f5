package translate

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"conveyance/producers"
)

// driftsMax is how many different drifts have a series of their own in one process: paths and words
// come from vendors, and a hostile or broken one must not fill the metrics. The rest is "other".
const driftsMax = 300

type metrics struct {
	snapshots *prometheus.CounterVec
	drift     *prometheus.CounterVec

	mu   sync.Mutex
	seen map[drifted]bool
}

// drifted is a drift of a vendor.
type drifted struct {
	vendor string
	producers.Drift
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
		seen: map[drifted]bool{},
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
	m.mu.Lock()
	defer m.mu.Unlock()
	for d, n := range drifts {
		if !m.seen[d] && len(m.seen) >= driftsMax {
			d.Path, d.What = "other", ""
		} else {
			m.seen[d] = true
		}
		m.drift.WithLabelValues(d.vendor, d.Path, d.Kind, d.What).Add(float64(n))
	}
}
