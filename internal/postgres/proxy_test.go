package postgres_test

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"conveyance/internal/testkit"
)

// proxy stands between a client and the test's Postgres, counts round trips, and can cut a
// connection at its COMMIT.
type proxy struct {
	url    string
	cut    atomic.Int32 // one of cut*
	rounds atomic.Int64 // times that the client spoke after the server had
}

const (
	cutNothing = iota
	cutBeforeCommit
	cutAfterCommit
)

// commit is pgx's simple query: a message of type Q with its length.
var commit = []byte("Q\x00\x00\x00\x0bcommit\x00")

func startProxy(t *testing.T) *proxy {
	t.Helper()
	cfg, err := pgx.ParseConfig(testkit.PostgresURL(t))
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{url: fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cfg.User, cfg.Password, l.Addr(), cfg.Database)}
	server := net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(client, server) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return p
}

func (p *proxy) serve(client net.Conn, server string) {
	defer func() { _ = client.Close() }()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = upstream.Close() }()
	var answered, cut atomic.Bool
	answered.Store(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { _ = client.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := upstream.Read(buf)
			if err != nil || cut.Load() {
				return // the answer to the COMMIT is lost
			}
			answered.Store(true)
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		if answered.Swap(false) {
			p.rounds.Add(1)
		}
		if mode := p.cut.Load(); mode != cutNothing && bytes.Contains(buf[:n], commit) {
			if mode == cutBeforeCommit {
				break
			}
			cut.Store(true)
		}
		if _, err := upstream.Write(buf[:n]); err != nil {
			break
		}
	}
	if !cut.Load() {
		_ = upstream.Close()
	}
	<-ended
}
