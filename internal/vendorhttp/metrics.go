package vendorhttp

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"conveyance/internal/tenant"
)

// MetricBreaker is 1 for a vendor's account that is left alone since its calls failed in a row.
const MetricBreaker = "conveyance_vendor_breaker_open"

// metrics of calls; nil-safe, so that a client without a registry pays nothing.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	breakers *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	if reg == nil {
		return nil, nil
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "conveyance_vendor_requests_total",
			Help: "Calls to vendors by account and status; status none is a call without an answer.",
		}, []string{"vendor", "account", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "conveyance_vendor_seconds",
			Help:    "Time of a call to a vendor, from its budget to the last byte of its answer.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"vendor"}),
		breakers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: MetricBreaker,
			Help: "1 while calls are not made because they failed in a row; an empty account is the whole vendor.",
		}, []string{"vendor", "account"}),
	}
	var err error
	m.requests, err = register(reg, m.requests, err)
	m.seconds, err = register(reg, m.seconds, err)
	m.breakers, err = register(reg, m.breakers, err)
	return m, err
}

// register shares a metric with another client of the process.
func register[C prometheus.Collector](reg prometheus.Registerer, c C, before error) (C, error) {
	if before != nil {
		return c, before
	}
	err := reg.Register(c)
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := there.ExistingCollector.(C); ok {
			return same, nil
		}
	}
	if err != nil {
		return c, fmt.Errorf("registering metrics of vendor calls: %w", err)
	}
	return c, nil
}

func (m *metrics) observe(a tenant.Account, status int, took time.Duration) {
	if m == nil {
		return
	}
	label := "none"
	if status != 0 {
		label = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(a.Vendor, a.Key(), label).Inc()
	m.seconds.WithLabelValues(a.Vendor).Observe(took.Seconds())
}

func (m *metrics) breaker(vendor, account string, open bool) {
	if m == nil {
		return
	}
	value := 0.0
	if open {
		value = 1
	}
	m.breakers.WithLabelValues(vendor, account).Set(value)
}
