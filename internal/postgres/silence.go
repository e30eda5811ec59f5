package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// silenceMax is how long a server may say nothing before a stage takes the connection for dead. A
	// transaction's statements end after StatementTimeout, so a server that lives has answered by then;
	// one that is frozen, or behind a router that forgot the connection, never does, and TCP alone
	// notices after a quarter of an hour.
	silenceMax = 10 * time.Second
	// pingTimeout of a connection that was idle for a second, before it is used.
	pingTimeout = 3 * time.Second
)

// OpenStage is Open for a process that runs for months. A server that owes an answer and says nothing for
// 10 s is gone: the statement ends with an error, an unknown outcome where it was a COMMIT, and every
// other connection of the pool is closed, since they lead to the same place.
func OpenStage(ctx context.Context, url, app string) (*pgxpool.Pool, error) {
	return openStage(ctx, url, app, silenceMax)
}

func openStage(ctx context.Context, url, app string, silence time.Duration) (*pgxpool.Pool, error) {
	var opened atomic.Pointer[pgxpool.Pool]
	gone := func() {
		if pool := opened.Load(); pool != nil {
			pool.Reset()
		}
	}
	pool, err := open(ctx, url, app, func(cfg *pgxpool.Config) {
		cfg.PingTimeout = min(pingTimeout, silence)
		dial := cfg.ConnConfig.DialFunc
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &impatient{Conn: c, silence: silence, gone: gone}, nil
		}
	})
	opened.Store(pool)
	return pool, err
}

// impatient is a connection whose reads end after a silence. pgx reads only while it waits for an
// answer, and ends a read by a deadline in the past, which goes before.
type impatient struct {
	net.Conn

	silence time.Duration
	gone    func()

	mu       sync.Mutex
	deadline time.Time // pgx's own; zero = none
}

func (c *impatient) Read(b []byte) (int, error) {
	own, err := c.limit()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if own && errors.Is(err, os.ErrDeadlineExceeded) && !c.asked() {
		c.gone()
		err = fmt.Errorf("it said nothing for %s: %w", c.silence, err)
	}
	return n, err
}

// limit sets the nearer of the two deadlines; own is true where that is the silence's.
func (c *impatient) limit() (own bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now().Add(c.silence)
	if own = c.deadline.IsZero() || at.Before(c.deadline); !own {
		at = c.deadline
	}
	return own, c.Conn.SetReadDeadline(at)
}

// asked is true where pgx's deadline has come, set while a read was waiting.
func (c *impatient) asked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}

func (c *impatient) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *impatient) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if t.IsZero() { // a read that waits keeps its limit
		t = time.Now().Add(c.silence)
	}
	return c.Conn.SetReadDeadline(t)
}
