// Package proxy is a cable between clients and a server of this machine that tests cut and mend: in
// both directions or one, for all clients or one process, with a reset, in silence, or for ever. It
// passes bytes and knows no protocol. A Proxy is safe for concurrent use.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Way is a direction of bytes.
type Way int

const (
	// Both directions.
	Both Way = iota
	// ToServer is what clients say.
	ToServer
	// ToClient is what the server answers.
	ToClient
)

// Kind is how a cut looks from the ends of the cable.
type Kind int

const (
	// Reset ends what is open, and refuses what is new, with a TCP reset: a server's machine without
	// the server, or a firewall that says no.
	Reset Kind = iota
	// Silence lets nothing pass and says nothing. Once mended, what was held back flows on, as TCP
	// sends again what a cable swallowed.
	Silence
	// Forget is Silence after which the connections that were open stay silent for ever, with no end
	// and no reset: a router that lost its table. New ones work once the cut is mended.
	Forget
)

func (k Kind) String() string { return [...]string{"reset", "silence", "forget"}[k] }

func (w Way) String() string { return [...]string{"both ways", "to server", "to client"}[w] }

// Cut is a fault of the cable.
type Cut struct {
	Kind Kind
	Way  Way // of Silence and Forget
	// Whose says which clients it hits, by their address; nil = all. It is asked once per connection.
	Whose func(client net.Addr) bool
}

// Proxy listens and passes on.
type Proxy struct {
	Addr string // host:port for clients

	l    net.Listener
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	target  string
	conns   map[*link]bool
	cuts    map[*cut]bool
	delay   map[Way]time.Duration
	changed chan struct{} // closed and made anew at each change of cuts
	closed  bool
}

// cut is one that is in force.
type cut struct {
	Cut

	hits map[*link]bool
}

// Start listens on any free port of the loopback and passes on to target until Close.
func Start(ctx context.Context, target string) (*Proxy, error) {
	return StartAt(ctx, "127.0.0.1:0", target)
}

// StartAt listens on addr.
func StartAt(ctx context.Context, addr, target string) (*Proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for %s: %w", target, err)
	}
	p := &Proxy{
		Addr: l.Addr().String(), l: l, target: target, conns: map[*link]bool{}, cuts: map[*cut]bool{},
		delay: map[Way]time.Duration{}, changed: make(chan struct{}),
	}
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.wg.Go(func() { p.accept(ctx) })
	return p, nil
}

// Close ends the proxy and every connection through it.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.end()
	}
	p.mu.Unlock()
	p.stop()
	_ = p.l.Close()
	p.wg.Wait()
}

// Lead makes new connections go to another server, and resets those that are open.
func (p *Proxy) Lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	for c := range p.conns {
		c.reset()
	}
}

// Delay holds what goes one way, or both, back by d; 0 = no more.
func (p *Proxy) Delay(w Way, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range []Way{ToServer, ToClient} {
		if w == Both || w == one {
			p.delay[one] = d
		}
	}
}

// Cut puts a cut in force until mend, which may be called more than once. Cuts may overlap.
func (p *Proxy) Cut(c Cut) (mend func()) {
	in := &cut{c, map[*link]bool{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts[in] = true
	for l := range p.conns {
		p.meet(in, l)
	}
	p.stir()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.cuts[in] {
			return
		}
		delete(p.cuts, in)
		if in.Kind == Forget {
			for l := range in.hits {
				l.forget(in.Way)
			}
		}
		p.stir()
	}
}

// Open is how many connections pass now.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// meet says what a cut does to a connection.
func (p *Proxy) meet(in *cut, l *link) {
	if in.Whose != nil && !in.Whose(l.client.RemoteAddr()) {
		return
	}
	in.hits[l] = true
	if in.Kind == Reset {
		l.reset()
	}
}

func (p *Proxy) stir() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.wg.Go(func() { p.serve(ctx, client) })
		}
	}
}

func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	l := &link{client: client, gone: make(chan struct{}), forgot: map[Way]bool{}}
	p.mu.Lock()
	p.conns[l] = true
	for in := range p.cuts {
		p.meet(in, l)
	}
	target := p.target
	if p.closed {
		l.end()
	}
	p.mu.Unlock()
	defer func() {
		l.end()
		p.mu.Lock()
		delete(p.conns, l)
		for in := range p.cuts {
			delete(in.hits, l)
		}
		p.mu.Unlock()
	}()
	if !p.pass(l, ToServer) { // a cut client does not reach the server even to connect
		return
	}
	server, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", target)
	if err != nil {
		l.reset()
		return
	}
	if !l.connect(server) {
		return
	}
	var ways sync.WaitGroup
	ways.Go(func() { p.carry(l, ToServer, client, server) })
	ways.Go(func() { p.carry(l, ToClient, server, client) })
	ways.Wait()
}

// dialTimeout of the server's side, on this machine.
const dialTimeout = 5 * time.Second

// pass waits until nothing stands in a connection's way; false where it has ended.
func (p *Proxy) pass(l *link, w Way) bool {
	for {
		p.mu.Lock()
		blocked, changed := l.forgot[w], p.changed
		for in := range p.cuts {
			blocked = blocked || in.hits[l] && (in.Way == Both || in.Way == w)
		}
		p.mu.Unlock()
		if !blocked {
			return !l.ended()
		}
		select {
		case <-changed:
		case <-l.gone:
			return false
		}
	}
}

func (p *Proxy) held(w Way) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay[w]
}
