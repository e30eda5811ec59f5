package vendorhttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const quick = 150 * time.Millisecond // a call's limit where a test waits for it to pass

func client(t *testing.T, cfg vendorhttp.Config) *vendorhttp.Client {
	t.Helper()
	cfg.AllowLoopback = true
	c, err := vendorhttp.New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func account(base, name string) tenant.Account {
	return tenant.Account{
		Tenant: "lakeshore", Vendor: "followupboss", Name: name, BaseURL: base,
		Credential: tenant.Credential{Fields: map[string]string{"api_key": "planted-secret-key"}},
	}
}

// vendor serves one handler and counts what reaches it.
func vendor(t *testing.T, h http.HandlerFunc) (tenant.Account, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return account(srv.URL+"/v1", "main"), &n
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"errorMessage":"no"}`)
	}
}

func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = buf.WriteString(text)
		_ = buf.Flush()
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // the peer sees a reset
		}
		_ = conn.Close()
	}
}

func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // until the body is read the server does not see the client leave
	<-r.Context().Done()
}

func slowBody(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, `{"people":[`)
	_ = http.NewResponseController(w).Flush()
	hang(w, r)
}

func huge(w http.ResponseWriter, r *http.Request) {
	chunk := []byte(strings.Repeat("x", 32<<10))
	for r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func TestEveryFaultOfAVendorHasItsVerdict(t *testing.T) {
	t.Parallel()
	cut := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"people\":["
	for name, tt := range map[string]struct {
		serve     http.HandlerFunc
		get, post verdict.Kind
		cause     string
		waits     bool // until the call's own limit
	}{
		"hang":              {hang, verdict.Retry, verdict.Doubt, "no answer from vendor", true},
		"slow body":         {slowBody, verdict.Retry, verdict.Doubt, "no answer from vendor", true},
		"reset mid-body":    {raw(cut), verdict.Retry, verdict.Doubt, "no answer from vendor", false},
		"reset at once":     {raw(""), verdict.Retry, verdict.Doubt, "no answer from vendor", false},
		"no HTTP":           {raw("SMTP ready\r\n\r\n"), verdict.Retry, verdict.Doubt, "no answer from vendor", false},
		"huge":              {huge, verdict.Park, verdict.Doubt, "vendor answer too large", false},
		"redirect":          {status(301, "Location", "http://169.254.169.254/latest/"), verdict.Park, verdict.Park, "vendor redirected", false},
		"not modified":      {status(304), verdict.Park, verdict.Park, "vendor redirected", false},
		"400":               {status(400), verdict.Park, verdict.Park, "vendor refused 400", false},
		"401":               {status(401), verdict.Hold, verdict.Hold, "account refused", false},
		"403":               {status(403), verdict.Hold, verdict.Hold, "account refused", false},
		"404":               {status(404), verdict.Park, verdict.Park, "vendor refused 404", false},
		"405":               {status(405), verdict.Park, verdict.Park, "vendor refused 405", false},
		"408":               {status(408), verdict.Retry, verdict.Doubt, "vendor answered 408", false},
		"409":               {status(409), verdict.Park, verdict.Park, "vendor refused 409", false},
		"410":               {status(410), verdict.Park, verdict.Park, "vendor refused 410", false},
		"413":               {status(413), verdict.Park, verdict.Park, "vendor refused 413", false},
		"422":               {status(422), verdict.Park, verdict.Park, "vendor refused 422", false},
		"425":               {status(425), verdict.Retry, verdict.Retry, "vendor answered 425", false},
		"429":               {status(429), verdict.Hold, verdict.Hold, "vendor limit reached", false},
		"500":               {status(500), verdict.Retry, verdict.Doubt, "vendor answered 500", false},
		"502":               {status(502), verdict.Retry, verdict.Doubt, "vendor answered 502", false},
		"503":               {status(503), verdict.Retry, verdict.Doubt, "vendor answered 503", false},
		"503 not processed": {status(503, "Retry-After", "7"), verdict.Retry, verdict.Retry, "vendor answered 503", false},
		"504":               {status(504), verdict.Retry, verdict.Doubt, "vendor answered 504", false},
	} {
		for method, want := range map[string]verdict.Kind{"GET": tt.get, "POST": tt.post} {
			t.Run(name+" "+method, func(t *testing.T) {
				t.Parallel()
				a, _ := vendor(t, tt.serve)
				cfg := vendorhttp.Config{BodyBytesMax: 64 << 10}
				if tt.waits {
					cfg.Timeout = quick
				}
				c := client(t, cfg)
				_, err := c.Do(t.Context(), a, vendorhttp.Request{Method: method, Path: "/people", Body: []byte(`{"a":1}`)})
				v := verdict.Of(err)
				require.NotNil(t, v)
				require.Equal(t, want, v.Kind, err)
				require.Equal(t, tt.cause, v.Cause)
				if v.Kind == verdict.Hold {
					require.Equal(t, verdict.AccountScope("lakeshore", "followupboss", "main"), v.Scope)
					require.True(t, v.Until.After(time.Now()))
				}
			})
		}
	}
}

func TestHTMLIsAnAnswerLikeAnyOther(t *testing.T) {
	t.Parallel()
	a, _ := vendor(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>maintenance") })
	resp, err := client(t, vendorhttp.Config{}).Do(t.Context(), a, vendorhttp.Request{Method: "GET", Path: "/people"})
	require.NoError(t, err)
	require.Equal(t, "<html>maintenance", string(resp.Body))
}

func TestRedirectIsNeverFollowed(t *testing.T) {
	t.Parallel()
	other, reached := vendor(t, status(200))
	a, _ := vendor(t, status(307, "Location", other.BaseURL+"/steal"))
	_, err := client(t, vendorhttp.Config{}).Do(t.Context(), a, vendorhttp.Request{Method: "POST", Path: "/people"})
	require.Equal(t, verdict.Park, verdict.Of(err).Kind)
	require.Zero(t, reached.Load())
}

func TestBodyAtTheLimitIsReadAndOneByteMoreIsNot(t *testing.T) {
	t.Parallel()
	const limit = 1000
	for size, want := range map[int]bool{limit: true, limit + 1: false} {
		a, _ := vendor(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", size))
		})
		resp, err := client(t, vendorhttp.Config{BodyBytesMax: limit}).
			Do(t.Context(), a, vendorhttp.Request{Method: "GET", Path: "/people"})
		require.Equal(t, want, err == nil, size)
		require.Equal(t, want, len(resp.Body) == limit)
	}
}

func TestNothingSentIsARetryForWritesToo(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	a := account("http://"+l.Addr().String(), "main")
	_, err = client(t, vendorhttp.Config{}).Do(t.Context(), a, vendorhttp.Request{Method: "POST", Path: "/people"})
	require.Equal(t, verdict.Retry, verdict.Of(err).Kind)
	require.Equal(t, "vendor unreachable", verdict.Of(err).Cause)
}

func TestUntrustedCertificateIsARetryAndGetsNoCredential(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.Add(1) }))
	srv.Config.ErrorLog = quiet()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, err := client(t, vendorhttp.Config{}).Do(t.Context(), account(srv.URL, "main"), vendorhttp.Request{Method: "POST", Path: "/people"})
	require.Equal(t, "vendor unreachable", verdict.Of(err).Cause)
	require.Zero(t, n.Load())
}

func TestCancelledCallerIsNoVerdictBeforeSendingAndADoubtAfter(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{})
	a, n := vendor(t, func(w http.ResponseWriter, r *http.Request) {
		close(reached)
		hang(w, r)
	})
	c := client(t, vendorhttp.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Do(ctx, a, vendorhttp.Request{Method: "POST", Path: "/people"})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "unmarked", verdict.Of(err).Cause)
	require.Zero(t, n.Load())

	ctx, cancel = context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	_, err = c.Do(ctx, a, vendorhttp.Request{Method: "POST", Path: "/people", Body: []byte("{}")})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, verdict.Doubt, verdict.Of(err).Kind)
}

func TestRequestArrivesAsBuilt(t *testing.T) {
	t.Parallel()
	a, _ := vendor(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(map[string]string{
			"at": r.Method + " " + r.URL.EscapedPath() + "?" + r.URL.RawQuery, "body": string(body), "key": r.Header.Get("X-Key"),
		})
	})
	resp, err := client(t, vendorhttp.Config{}).Do(t.Context(), a, vendorhttp.Request{
		Method: "PUT", Path: "/people/" + url.PathEscape("a/b c?"), Query: url.Values{"fields": {"all Fields"}},
		Header: http.Header{"X-Key": {"k"}}, Body: []byte("{}"),
	})
	require.NoError(t, err)
	require.JSONEq(t, `{"at":"PUT /v1/people/a%2Fb%20c%3F?fields=all+Fields","body":"{}","key":"k"}`, string(resp.Body))
}

func TestErrorHoldsNoSecretQueryOrPersonalData(t *testing.T) {
	t.Parallel()
	a, _ := vendor(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = fmt.Fprintf(w, "%s %s %s call (312) 555-0199 or maria@example.com %s stage unknown",
			r.URL.RawQuery, r.Header.Get("Authorization"), body, strings.Repeat("pad ", 200))
	})
	_, err := client(t, vendorhttp.Config{}).Do(t.Context(), a, vendorhttp.Request{
		Method: "POST", Path: "/people", Query: url.Values{"email": {"query-value"}},
		Header: http.Header{"Authorization": {"Basic planted-secret-key"}}, Body: []byte(`{"name":"Maria Lopez","tags":["VIP client"]}`),
	})
	for _, s := range []string{"planted-secret", "query-value", "Maria", "VIP", "maria@", "555", "127.0.0.1"} {
		require.NotContains(t, err.Error(), s)
	}
	require.Contains(t, err.Error(), "calling POST /people: status 422")
	require.Less(t, len(err.Error()), 320)

	a.BaseURL = "http://127.0.0.1:1"
	_, err = client(t, vendorhttp.Config{}).Do(t.Context(), a, vendorhttp.Request{
		Method: "GET", Path: "/people", Query: url.Values{"email": {"query-value"}},
	})
	require.NotContains(t, err.Error(), "query-value")
}

func TestCallsAreCountedByAccountAndStatusAndClientsShareTheCounter(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	a, _ := vendor(t, status(404))
	for range 2 {
		c := client(t, vendorhttp.Config{Metrics: reg})
		_, err := c.Do(t.Context(), a, vendorhttp.Request{Method: "GET", Path: "/people/1", Answers: []int{404}})
		require.NoError(t, err)
	}
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP conveyance_vendor_requests_total Calls to vendors by account and status; status none is a call without an answer.
# TYPE conveyance_vendor_requests_total counter
conveyance_vendor_requests_total{account="lakeshore/followupboss/main",status="404",vendor="followupboss"} 2
`), "conveyance_vendor_requests_total"))
}
