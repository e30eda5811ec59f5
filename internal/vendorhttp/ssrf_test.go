package vendorhttp

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// forbidden are hosts that lead to this machine, its network or a cloud's metadata, in the notations
// in which they have been smuggled. %s is a name that resolves to this machine.
var forbidden = []string{
	"127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "0", "0.0.0.0", "localhost", "localhost.", "LOCALHOST",
	"2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1.", "①②⑦.⓪.⓪.①",
	"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255",
	"169.254.169.254", "169.254.170.2", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
	"192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
	"[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]",
	"[::ffff:169.254.169.254]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]",
	"[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2001:0:7f00:1::]", "[2001:db8::1]", "[fe80::1]", "[fc00::1]",
	"[fd00:ec2::254]", "[ff02::1]", "[fec0::1]", "[100::1]",
}

// canary listens on every address of this machine and counts who comes.
func canary(t *testing.T) (uint16, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	var n atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	return netip.MustParseAddrPort(l.Addr().String()).Port(), &n
}

func TestForbiddenAddressIsNeverDialled(t *testing.T) {
	t.Parallel()
	port, reached := canary(t)
	c, err := newClient(Config{Timeout: 2 * time.Second}, guard(false, port))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.GreaterOrEqual(t, len(forbidden), 30)
	for _, host := range forbidden {
		for _, base := range []string{
			"https://" + host + ":" + strconv.Itoa(int(port)),
			"https://api.followupboss.com@" + host + ":" + strconv.Itoa(int(port)),
		} {
			a := tenant.Account{Tenant: "t", Vendor: "v", Name: base, BaseURL: base}
			_, err := c.Do(t.Context(), a, Request{Method: "GET", Path: "/"})
			require.Error(t, err, base)
			require.Contains(t, []verdict.Kind{verdict.Hold, verdict.Retry, verdict.Stall}, verdict.Of(err).Kind, base)
		}
	}
	require.Zero(t, reached.Load())

	// The canary sings where the guard is off, so its silence above means something.
	open, err := newClient(Config{AllowLoopback: true}, guard(true, port))
	require.NoError(t, err)
	t.Cleanup(open.Close)
	_, err = open.Do(t.Context(), tenant.Account{BaseURL: "http://127.0.0.1:" + strconv.Itoa(int(port))}, Request{Method: "GET", Path: "/"})
	require.Error(t, err)
	require.NotZero(t, reached.Load())
}

func TestLoopbackOpensNothingElse(t *testing.T) {
	t.Parallel()
	dial := guard(true, httpsPort)
	for _, at := range []string{"127.0.0.1:8090", "[::1]:8090", "[::ffff:127.0.0.1]:1"} {
		require.NoError(t, dial("tcp4", at, nil), at)
	}
	for _, at := range []string{
		"10.0.0.1:443", "169.254.169.254:443", "0.0.0.0:443", "[::]:443", "[fd00:ec2::254]:443", "8.8.8.8:80", "8.8.8.8:6443",
	} {
		require.True(t, denied(dial("tcp4", at, nil)), at)
	}
	require.NoError(t, dial("tcp4", "8.8.8.8:443", nil))
	require.NoError(t, dial("tcp6", "[2606:4700::1]:443", nil))
}

func TestBaseIsHTTPSOrLoopbackByPermission(t *testing.T) {
	t.Parallel()
	for base, want := range map[string][2]bool{ // allowed, allowed with loopback
		"https://api.followupboss.com/v1":       {true, true},
		"https://api.skyslope.com":              {true, true},
		"http://127.0.0.1:8090/skyslope":        {false, true},
		"http://localhost:8090/skyslope":        {false, true},
		"http://[::1]:8090/skyslope":            {false, true},
		"http://localhost.evil.example":         {false, false},
		"http://10.0.0.1":                       {false, false},
		"http://api.followupboss.com":           {false, false},
		"ftp://api.followupboss.com":            {false, false},
		"//api.followupboss.com":                {false, false},
		"https:///v1":                           {false, false},
		"https:api.followupboss.com":            {false, false},
		"https://user:pw@api.followupboss.com":  {false, false},
		"https://api.followupboss.com/v1?a=b":   {false, false},
		"https://api.followupboss.com/v1#x":     {false, false},
		"https://api.followupboss.com/v1/../v2": {false, false},
		"https://api.followupboss.com/%2e%2e/":  {false, false},
		"":                                      {false, false},
		"https://\x00":                          {false, false},
	} {
		require.Equal(t, want[0], CheckBase(base, Config{}) == nil, base)
		require.Equal(t, want[1], CheckBase(base, Config{AllowLoopback: true}) == nil, base)
	}
}

func TestPathNeverLeavesTheBase(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"", "people", "//evil.example/x", "https://evil.example", "/../x", "/a/../../x", "/..", "/.", "/a/%2e%2e/b", "/a/.%2E/b",
		"/a%2f..%2fb", "/a/..%2f", "/%252e%252e/x", "/%25252e%25252e/x", `/a\..\b`, "/a%5c..%5cb", "/a\x00b", "/a%00b", "/a\nb", "/%zz", "/%",
	} {
		require.Error(t, checkPath(path), path)
	}
	for _, path := range []string{"/", "/people", "/people/12", "/a..b/c", "/people/a%2Fb", "/people/100%25", "/.well-known/x", "/käse"} {
		require.NoError(t, checkPath(path), path)
	}
}

func FuzzPathNeverLeavesTheBase(f *testing.F) {
	for _, s := range []string{"/people/1", "/%2e%2e/", "//x", "/a?b=c", "/a#b", "/%2f%2fevil", `/\evil`, "/a:443@b"} {
		f.Add(s)
	}
	c, err := newClient(Config{}, guard(false, httpsPort))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		text, err := c.target(tenant.Account{BaseURL: "https://api.vendor.example/v1"}, Request{Path: path, Query: url.Values{"q": {"1"}}})
		if err != nil {
			return
		}
		u, err := url.Parse(text)
		require.NoError(t, err)
		require.Equal(t, "https", u.Scheme)
		require.Equal(t, "api.vendor.example", u.Host)
		require.Nil(t, u.User)
		require.Equal(t, "q=1", u.RawQuery)
		require.Empty(t, u.Fragment)
		require.True(t, strings.HasPrefix(u.Path, "/v1/"), u.Path)
		require.True(t, strings.HasPrefix(u.JoinPath().Path, "/v1/"), u.Path) // also after a server cleans it
	})
}

func TestProbesOfADeadAccountGrowFromHalfAMinuteToFive(t *testing.T) {
	t.Parallel()
	a := tenant.Account{Tenant: "t", Vendor: "v", Name: "main"}
	g := newGate(a, nil)
	now := time.Now()
	var waits []time.Duration
	for range 6 {
		require.NoError(t, g.open(a, now, Timeout))
		until, news := g.refused(a, now, now)
		require.True(t, news)
		waits = append(waits, until.Sub(now))
		require.Error(t, g.open(a, until.Add(-1), Timeout))
		now = until
	}
	require.Equal(t, []time.Duration{
		30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute,
	}, waits)
}

func TestOneProbeGoesAtATimeAndCallsThatWereInFlightCountOnce(t *testing.T) {
	t.Parallel()
	a := tenant.Account{Tenant: "t", Vendor: "v", Name: "main"}
	g := newGate(a, nil)
	start := time.Now()
	at := start.Add(time.Second)
	until, news := g.refused(a, start, at)
	require.True(t, news)
	_, news = g.refused(a, start, at.Add(1))
	require.False(t, news)
	require.False(t, g.accepted(a, start, at.Add(2)), "a success that began before the refusal says nothing")

	require.NoError(t, g.open(a, until, Timeout))
	require.Error(t, g.open(a, until.Add(1), Timeout), "the probe is out")
	g.undecided(start, until.Add(2)) // a straggler gives no probe back
	require.Error(t, g.open(a, until.Add(3), Timeout))
	g.undecided(until, until.Add(4)) // the probe itself does
	require.NoError(t, g.open(a, until.Add(5), Timeout))
	require.True(t, g.accepted(a, until.Add(5), until.Add(6)))
	require.NoError(t, g.open(a, until.Add(7), Timeout))
}

func TestAllowedHostIsOneNameAndPortInPlainHTTP(t *testing.T) {
	t.Parallel()
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	t.Cleanup(vendor.Close)
	host := vendor.Listener.Addr().String()
	cfg := Config{AllowHost: host}
	for base, want := range map[string]bool{
		"http://" + host: true, "http://" + host + "/docusign": true, "https://api.skyslope.com": true,
		"http://127.0.0.1:1": false, "http://127.0.0.1": false, "http://sandbox.example": false,
	} {
		require.Equal(t, want, CheckBase(base, cfg) == nil, base)
	}
	c, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = c.Do(t.Context(), tenant.Account{Tenant: "t", Vendor: "v", BaseURL: "http://" + host}, Request{Method: "GET", Path: "/"})
	require.NoError(t, err)
	_, err = c.Do(t.Context(), tenant.Account{Tenant: "t", Vendor: "w", BaseURL: "https://127.0.0.2:1"}, Request{Method: "GET", Path: "/"})
	require.True(t, denied(err), err)
}
