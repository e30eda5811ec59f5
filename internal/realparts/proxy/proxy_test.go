package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet is how long a test waits for what must not come.
const quiet = 50 * time.Millisecond

// echo is a server that answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func start(t *testing.T) *Proxy {
	t.Helper()
	p, err := Start(t.Context(), echo(t))
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

type client struct {
	t *testing.T
	net.Conn

	r *bufio.Reader
}

func dial(t *testing.T, p *Proxy) *client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) say(line string) {
	c.t.Helper()
	_, err := io.WriteString(c, line+"\n")
	require.NoError(c.t, err)
}

func (c *client) hears(line string) {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	got, err := c.r.ReadString('\n')
	require.NoError(c.t, err)
	require.Equal(c.t, line+"\n", got)
}

func (c *client) hearsNothing() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(quiet)))
	_, err := c.r.ReadString('\n')
	require.ErrorIs(c.t, err, os.ErrDeadlineExceeded)
}

func (c *client) isReset() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := c.r.ReadString('\n')
	require.Truef(c.t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), "%v", err)
}

// refused is true where a new connection is reset, perhaps before it is one.
func refused(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		require.ErrorIs(t, err, syscall.ECONNRESET)
		return
	}
	(&client{t, c, bufio.NewReader(c)}).isReset()
	_ = c.Close()
}

func TestBytesPassBothWays(t *testing.T) {
	c := dial(t, start(t))
	c.say("hello")
	c.hears("hello")
}

func TestResetEndsWhatIsOpenAndRefusesWhatIsNewUntilMended(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	c.say("hello")
	c.hears("hello")
	mend := p.Cut(Cut{Kind: Reset})
	c.isReset()
	refused(t, p)
	mend()
	c = dial(t, p)
	c.say("again")
	c.hears("again")
}

func TestSilenceHoldsBackAndLetsFlowOnceMended(t *testing.T) {
	for _, way := range []Way{Both, ToServer, ToClient} {
		t.Run(way.String(), func(t *testing.T) {
			p := start(t)
			old := dial(t, p)
			old.say("hello")
			old.hears("hello")
			mend := p.Cut(Cut{Kind: Silence, Way: way})
			old.say("held")
			old.hearsNothing()
			fresh := dial(t, p)
			fresh.say("new")
			fresh.hearsNothing()
			mend()
			old.hears("held")
			fresh.hears("new")
		})
	}
}

func TestForgottenConnectionIsSilentForEverAndNewOnesWork(t *testing.T) {
	p := start(t)
	old := dial(t, p)
	old.say("hello")
	old.hears("hello")
	mend := p.Cut(Cut{Kind: Forget})
	old.say("lost")
	mend()
	old.hearsNothing()
	fresh := dial(t, p)
	fresh.say("new")
	fresh.hears("new")
	old.hearsNothing()
}

func TestCutOfOneProcessLeavesTheOthers(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	c.say("hello")
	c.hears("hello")
	defer p.Cut(Cut{Kind: Silence, Whose: Of(os.Getppid)})()
	c.say("not mine")
	c.hears("not mine")
	mend := p.Cut(Cut{Kind: Silence, Whose: Of(os.Getpid)})
	c.say("mine")
	c.hearsNothing()
	mend()
	c.hears("mine")
}

func TestDelayHoldsOneWayBack(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	const late = 80 * time.Millisecond
	p.Delay(ToClient, late)
	began := time.Now()
	c.say("slow")
	c.hears("slow")
	require.GreaterOrEqual(t, time.Since(began), late)
}

func TestLeadTakesNewConnectionsElsewhere(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	c.say("hello")
	c.hears("hello")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "elsewhere\n")
			_ = c.Close()
		}
	}()
	p.Lead(l.Addr().String())
	c.isReset()
	dial(t, p).hears("elsewhere")
}

func TestPortsOfAProcessAreItsOwn(t *testing.T) {
	p := start(t)
	c := dial(t, p)
	_, port, err := net.SplitHostPort(c.LocalAddr().String())
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	require.True(t, ports(os.Getpid())[n])
	require.False(t, ports(os.Getppid())[n])
}
