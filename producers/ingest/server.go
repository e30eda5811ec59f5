package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// headerTimeout, readTimeout, writeTimeout and idleTimeout bound what a slow client can hold. The
	// first two are counted from a request's first byte; writeTimeout leaves the longest deadline of a
	// vendor room after the slowest reading.
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = readTimeout + answerMax
	// idleTimeout is longer than the pauses of a vendor's own pool of connections, mostly a minute.
	idleTimeout = 75 * time.Second
	// headerBytesMax holds DocuSign's hundred signatures twice; net/http allows 4 KiB more.
	headerBytesMax = 28 << 10
	// connectionsMax at once, twice what a thousand slow clients take: each costs some 16 KiB. Further
	// ones wait in the kernel until one ends, headerTimeout at most where nobody sends.
	connectionsMax = 2048
	// closeWithin is what requests in flight get at the end: together with drainTimeout less than the
	// 10 s after which a supervisor kills.
	closeWithin = 5 * time.Second
)

// Server is a listener for the world: it speaks plain HTTP/1.1 behind whatever ends TLS, and gives no
// client more time, memory or connections than its limits say.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen listens on addr (port 0 = any free one); requests are answered once Run runs.
func Listen(ctx context.Context, addr string, h http.Handler, log *zap.Logger) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for webhooks on %s: %w", addr, err)
	}
	said, err := zap.NewStdLogAt(log, zap.DebugLevel) // clients' mistakes, one line each
	if err != nil {
		return nil, fmt.Errorf("making the server's log: %w", err)
	}
	return &Server{
		listener: limit(l, connectionsMax),
		http: &http.Server{
			Handler: h, ErrorLog: said,
			ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
			MaxHeaderBytes: headerBytesMax,
		},
	}, nil
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run answers until ctx ends; requests in flight then get closeWithin.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving webhooks: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	if err := s.http.Shutdown(last); errors.Is(err, context.DeadlineExceeded) {
		_ = s.http.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving webhooks: %w", err)
	}
	return nil
}

// limited is a listener with places.
type limited struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept waits for a place and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close also ends an Accept that waits for a place.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// placed is a connection that gives its place back.
type placed struct {
	net.Conn
	leave func()
}

func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
