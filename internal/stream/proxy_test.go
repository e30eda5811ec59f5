package stream_test

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/internal/postgres"
	"conveyance/internal/testkit"
)

// proxy stands between an engine and Postgres: it can cut it off, hold its words back, and lose the
// answers to its commits.
type proxy struct {
	t      testing.TB
	ln     net.Listener
	target string

	mu     sync.Mutex
	conns  map[net.Conn]bool
	cut    bool
	frozen chan struct{} // closed: flowing
	lose   int           // answers to commits that get lost
	early  int           // commits that get lost themselves
	lost   int
}

func newProxy(t testing.TB) *proxy {
	t.Helper()
	cfg, err := pgx.ParseConfig(testkit.PostgresURL(t))
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{
		t:      t,
		ln:     ln,
		target: fmt.Sprintf("%s:%d", cfg.Host, cfg.Port),
		conns:  map[net.Conn]bool{},
		frozen: make(chan struct{}),
	}
	close(p.frozen)
	go p.accept()
	t.Cleanup(func() { _ = ln.Close(); p.set(func() { p.cut = true }) })
	return p
}

// pool returns connections through the proxy.
func (p *proxy) pool() *pgxpool.Pool {
	p.t.Helper()
	cfg, err := pgx.ParseConfig(testkit.PostgresURL(p.t))
	require.NoError(p.t, err)
	url := fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cfg.User, cfg.Password, p.ln.Addr(), cfg.Database)
	pool, err := postgres.Open(p.t.Context(), url, "proxied")
	require.NoError(p.t, err)
	p.t.Cleanup(pool.Close)
	return pool
}

// set changes the proxy's ways; a cut closes what is open.
func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	if p.cut {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

func (p *proxy) cutOff() { p.set(func() { p.cut = true }) }
func (p *proxy) freeze() { p.set(func() { p.frozen = make(chan struct{}) }) }
func (p *proxy) thaw()   { p.set(func() { close(p.frozen) }) }

func (p *proxy) lostCommits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		cut := p.cut
		p.conns[client] = true
		p.mu.Unlock()
		if cut {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		go p.forward(client, server)
		go p.back(client, server)
	}
}

// forward carries the engine's words; a commit may be the last.
func (p *proxy) forward(client, server net.Conn) {
	defer func() { _ = server.Close(); _ = client.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		<-frozen
		p.mu.Lock()
		commit := bytes.Contains(buf[:n], []byte("commit\x00"))
		before := commit && p.early > 0
		after := commit && !before && p.lose > 0
		switch {
		case before:
			p.early--
			p.lost++
		case after:
			p.lose--
			p.lost++
		}
		p.mu.Unlock()
		if before {
			return
		}
		if after {
			_ = client.Close() // its answer finds nobody
		}
		if _, err := server.Write(buf[:n]); err != nil || after {
			if after {
				_, _ = server.Read(buf) // it was carried out
			}
			return
		}
	}
}

func (p *proxy) back(client, server net.Conn) {
	defer func() { _ = server.Close(); _ = client.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			// The answer is lost; what it answers was carried out.
			return
		}
	}
}
