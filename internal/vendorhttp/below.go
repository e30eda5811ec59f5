package vendorhttp

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// belowBytesMax of an answer to a library's own request: tokens, or a list of accounts.
const belowBytesMax = 1 << 20

// errOutside has no URL in it: the one that was asked for may hold a secret.
var errOutside = errors.New("the request leaves the configured base")

// Below returns an http.Client for a library that makes its own requests, such as one for OAuth. It
// reaches what lies at or below base, which is configuration and never from a payload, and nothing
// else: the dialled address is checked after DNS, a redirect is returned and not followed, answers
// over belowBytesMax break off, and a call ends after the client's Timeout. It knows no account: no
// gate, no breaker, no budget.
func (c *Client) Below(base string) (*http.Client, error) {
	u, err := parseBase(base, c.cfg)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &below{u, c.http.Transport}, CheckRedirect: c.http.CheckRedirect, Timeout: c.cfg.Timeout,
	}, nil
}

// below is a transport that goes nowhere but below its base.
type below struct {
	base *url.URL
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *below) RoundTrip(r *http.Request) (*http.Response, error) {
	path := r.URL.EscapedPath()
	inside := r.URL.Scheme == b.base.Scheme && r.URL.Host == b.base.Host && r.URL.User == nil && r.URL.Opaque == "" &&
		strings.HasPrefix(path+"/", strings.TrimSuffix(b.base.EscapedPath(), "/")+"/") && checkPath(path) == nil
	if !inside || (r.Host != "" && r.Host != b.base.Host) {
		if r.Body != nil {
			_ = r.Body.Close() // a transport closes it, whatever it returns
		}
		return nil, errOutside
	}
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, belowBytesMax)
	return resp, nil
}
