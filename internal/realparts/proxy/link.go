package proxy

import (
	"net"
	"sync"
	"time"
)

// chunk is what is passed on at a time.
const chunk = 32 << 10

// link is one connection through the cable. forgot belongs to the proxy's lock.
type link struct {
	client net.Conn
	forgot map[Way]bool
	gone   chan struct{}

	mu     sync.Mutex
	server net.Conn // nil until it answers
	over   bool
}

// connect joins the server's side; false where the connection has ended meanwhile.
func (l *link) connect(server net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		_ = server.Close()
		return false
	}
	l.server = server
	return true
}

func (l *link) ended() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

// end closes both sides.
func (l *link) end() { l.close(func(net.Conn) {}) }

// reset closes both sides with a TCP reset.
func (l *link) reset() {
	l.close(func(c net.Conn) {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	})
}

func (l *link) close(before func(net.Conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	close(l.gone)
	for _, c := range []net.Conn{l.client, l.server} {
		if c != nil {
			before(c)
			_ = c.Close()
		}
	}
}

// forget keeps the connection open and silent. Neither side is told anything, least of all that the
// other has gone; what a server does not notice by itself ends after forgottenFor.
func (l *link) forget(w Way) {
	for _, one := range []Way{ToServer, ToClient} {
		if w == Both || w == one {
			l.forgot[one] = true
		}
	}
	time.AfterFunc(forgottenFor, l.end)
}

// forgottenFor is longer than any time-out of ours, and keeps a long run from filling the server with
// connections that nobody has.
const forgottenFor = 90 * time.Second

// carry passes bytes one way until a side ends. An end is passed on only where nothing is cut.
func (p *Proxy) carry(l *link, w Way, from, to net.Conn) {
	buf := make([]byte, chunk)
	for {
		n, err := from.Read(buf)
		if !p.pass(l, w) {
			return
		}
		if d := p.held(w); d > 0 && n > 0 {
			select {
			case <-time.After(d):
			case <-l.gone:
				return
			}
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				l.end()
				return
			}
		}
		if err != nil {
			l.end()
			return
		}
	}
}
