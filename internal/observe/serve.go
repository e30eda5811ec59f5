package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// headerTimeout, readTimeout and idleTimeout bound what a slow client can hold.
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	idleTimeout   = 60 * time.Second
	// closeWithin is what requests in flight get when the process stops.
	closeWithin = time.Second
)

// NewRegistry returns a process's metrics with those of the runtime.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Server answers /healthz (alive), /readyz (503 with the reasons) and /metrics.
type Server struct {
	addr string
	http *http.Server
}

// Serve listens on addr (port 0 = any free one) and answers until Close. checks say by name why the
// process is not ready; nil is ready. They are called for each request and must not block.
func Serve(ctx context.Context, addr string, metrics prometheus.Gatherer, checks map[string]func() error) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for health and metrics on %s: %w", addr, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, checks) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	s := &Server{addr: l.Addr().String(), http: &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
	}}
	go func() { _ = s.http.Serve(l) }() // ends with Close
	return s, nil
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.addr }

// Close ends the server; requests in flight get closeWithin.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin) //nolint:forbidigo // the process's own has ended
	defer cancel()
	if err := s.http.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = s.http.Close()
	}
}

func ready(w http.ResponseWriter, checks map[string]func() error) {
	reasons := map[string]string{}
	for name, check := range checks {
		if err := check(); err != nil {
			reasons[name] = err.Error()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(struct {
		Ready   bool              `json:"ready"`
		Reasons map[string]string `json:"reasons"`
	}{len(reasons) == 0, reasons}) // the client may have gone
}
