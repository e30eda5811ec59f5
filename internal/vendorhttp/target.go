package vendorhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	// dialTimeout is half of the call's: a vendor that does not pick up leaves time for nothing else.
	dialTimeout = 5 * time.Second
	// idlePerHost keeps connections for as many calls at once as an account's budget allows.
	idlePerHost = 16
	// idleTimeout drops a connection before common load balancers do (60 s).
	idleTimeout = 30 * time.Second
	// headerBytesMax of an answer; real ones are below 4 KiB.
	headerBytesMax = 64 << 10
	// httpsPort is the only one at which a vendor's API is dialled.
	httpsPort = 443
	// unescapeMax is how often a path may be escaped on top of itself before it is refused.
	unescapeMax = 3
)

var errBadRequest = errors.New("the method or a header is malformed")

// CheckBase returns why an account's base URL is not allowed, nil where it is. It looks nothing up:
// the address is checked when it is dialled. Of cfg it reads what is allowed.
func CheckBase(base string, cfg Config) error {
	_, err := parseBase(base, cfg)
	return err
}

func parseBase(base string, cfg Config) (*url.URL, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, errors.New("base_url is not a URL")
	case u.Host == "" || u.Opaque != "":
		return nil, errors.New("base_url has no host")
	case u.User != nil:
		return nil, errors.New("base_url must not hold a user or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("base_url must not have a query or fragment")
	case u.Scheme == "https":
	case u.Scheme == "http" && cfg.AllowLoopback && isLoopback(u.Hostname()):
	case u.Scheme == "http" && cfg.AllowHost != "" && u.Host == cfg.AllowHost:
	default:
		return nil, errors.New("base_url must be https")
	}
	if u.Path != "" {
		if err := checkPath(u.EscapedPath()); err != nil {
			return nil, fmt.Errorf("base_url: %w", err)
		}
	}
	return u, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// target is the URL of a call: the account's base, the path below it, the query.
func (c *Client) target(a tenant.Account, r Request) (string, error) {
	u, err := parseBase(a.BaseURL, c.cfg)
	if err != nil {
		return "", verdict.Held(scope(a), time.Time{}, "account misconfigured", err)
	}
	if err := checkPath(r.Path); err != nil {
		return "", verdict.Parked("request path refused", err)
	}
	// The escaped forms are joined, not resolved: nothing of the path can climb out of the base.
	escaped := strings.TrimSuffix(u.EscapedPath(), "/") + r.Path
	if u.Path, err = url.PathUnescape(escaped); err != nil {
		return "", verdict.Parked("request path refused", errors.New("path is not well escaped"))
	}
	u.RawPath = escaped
	u.RawQuery = r.Query.Encode()
	return u.String(), nil
}

// checkPath refuses what a server could read as another place: dot segments in any escaping,
// backslashes, a query, an authority.
func checkPath(path string) error {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return errors.New("path must start with one slash")
	}
	for pass := range unescapeMax {
		if strings.ContainsFunc(path, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }) {
			return errors.New("path holds a control character or backslash")
		}
		for _, segment := range strings.Split(path, "/") {
			if segment == "." || segment == ".." {
				return errors.New("path holds a dot segment")
			}
		}
		plain, err := url.PathUnescape(path)
		if err != nil && pass == 0 {
			return errors.New("path is not well escaped")
		}
		if err != nil || plain == path {
			return nil //nolint:nilerr // a percent sign that was itself escaped
		}
		path = plain
	}
	return errors.New("path is escaped several times")
}

// transport dials only what the guard lets through, and the one allowed host by its name. Its settings
// are explicit: none comes from the environment.
func transport(cfg Config, control control) *http.Transport {
	guarded, open := &net.Dialer{Timeout: dialTimeout, Control: control}, &net.Dialer{Timeout: dialTimeout}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if cfg.AllowHost != "" && address == cfg.AllowHost { // before DNS: the operator's word, not a payload's
			return open.DialContext(ctx, network, address)
		}
		return guarded.DialContext(ctx, network, address)
	}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: headerBytesMax,
	}
}

// control is asked with the address that is about to be dialled.
type control = func(network, address string, c syscall.RawConn) error

// guard checks the dialled address after DNS, so that a name that changes its mind is no way in.
func guard(allowLoopback bool, port uint16) control {
	public := ssrf.New(ssrf.WithPorts(port))
	return func(network, address string, c syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(address); allowLoopback && err == nil && at.Addr().Unmap().IsLoopback() {
			return nil
		}
		return public.Safe(network, address, c)
	}
}

func denied(err error) bool {
	return errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedPort) ||
		errors.Is(err, ssrf.ErrProhibitedNetwork) || errors.Is(err, ssrf.ErrInvalidHostPort)
}

func body(r Request) io.Reader {
	if len(r.Body) == 0 {
		return http.NoBody
	}
	return bytes.NewReader(r.Body)
}
