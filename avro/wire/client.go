package wire

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

// answerBytesMax is one answer of the registry. Our largest schema has 25 KB, and a list of all
// subjects of a shared cluster stays below this.
const answerBytesMax = 16 << 20

// newClient returns a client of the registry at one URL or several with commas, tried in turn, and
// the URLs without credentials, as a name for the registry. A URL has timeout to answer.
// Credentials in a URL are sent as basic authentication to all of them.
func newClient(registry string, timeout time.Duration) (*sr.Client, string, error) {
	opts := []sr.ClientOpt{
		sr.UserAgent("conveyance"),
		sr.HTTPClient(&http.Client{Timeout: timeout, Transport: bounded{http.DefaultTransport}}),
	}
	var urls []string
	for text := range strings.SplitSeq(registry, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil { // the error's own text repeats the URL, and a password within it
			return nil, "", errors.New("registry URL cannot be parsed: give http://host:port")
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, "", fmt.Errorf("registry URL %q is not http://host:port or https://host:port", u.Redacted())
		}
		if u.User != nil { // out of the URL, since the client's errors repeat that
			password, _ := u.User.Password()
			opts = append(opts, sr.BasicAuth(u.User.Username(), password))
			u.User = nil
		}
		urls = append(urls, u.String())
	}
	client, err := sr.NewClient(append(opts, sr.URLs(urls...))...)
	if err != nil {
		return nil, "", fmt.Errorf("making a registry client: %w", err)
	}
	return client, strings.Join(urls, ","), nil
}

// bounded cuts answers off at answerBytesMax: the client reads them whole.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, answerBytesMax)
	}
	return resp, err
}
