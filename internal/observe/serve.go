package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// headerTimeout, readTimeout, writeTimeout and idleTimeout bound what a slow client can hold.
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	// headerBytesMax of a request: these endpoints take no credentials and no cookies.
	headerBytesMax = 16 << 10
	// scrapesMax at once: two Prometheus servers and a person.
	scrapesMax = 3
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
	addr  string
	close func()
}

// Serve listens on addr (port 0 = any free one) and answers until Close. checks say by name why the
// process is not ready; nil is ready. They are called for each request, several at once, and must
// not block. Who reaches addr reads names of tenants and accounts: it is no public address.
func Serve(ctx context.Context, addr string, metrics prometheus.Gatherer, checks map[string]func() error) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for health and metrics on %s: %w", addr, err)
	}
	srv := &http.Server{
		Handler:           Handler(metrics, checks),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerBytesMax,
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(l) // ends with Close
	}()
	return &Server{addr: l.Addr().String(), close: sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		if err := srv.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
			_ = srv.Close()
		}
		<-ended
	})}, nil
}

// Handler is what Serve answers with, for a process that has a server of its own.
func Handler(metrics prometheus.Gatherer, checks map[string]func() error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, checks) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // one broken metric hides no other
		MaxRequestsInFlight: scrapesMax,
	}))
	return mux
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.addr }

// Close ends the server; requests in flight get closeWithin. Twice is once.
func (s *Server) Close() { s.close() }

func ready(w http.ResponseWriter, checks map[string]func() error) {
	reasons := map[string]string{}
	for name, check := range checks {
		if err := check(); err != nil {
			reasons[name] = err.Error()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(struct {
		Ready   bool              `json:"ready"`
		Reasons map[string]string `json:"reasons"`
	}{len(reasons) == 0, reasons}) // the client may have gone
}
