package observe_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"conveyance/internal/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fetch(t *testing.T, method, addr, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestServerTellsHealthReadinessWithReasonsAndMetrics(t *testing.T) {
	t.Parallel()
	metrics := observe.NewRegistry()
	metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "conveyance_test_total", Help: "x"}, func() float64 { return 7 }))
	var down error
	s, err := observe.Serve(t.Context(), "127.0.0.1:0", metrics, map[string]func() error{
		"kafka": func() error { return down }, "postgres": func() error { return nil },
	})
	require.NoError(t, err)
	t.Cleanup(s.Close)

	code, body := fetch(t, "GET", s.Addr(), "/healthz")
	require.Equal(t, []any{200, "ok\n"}, []any{code, body})
	code, body = fetch(t, "GET", s.Addr(), "/readyz")
	require.Equal(t, 200, code)
	require.JSONEq(t, `{"ready": true, "reasons": {}}`, body)
	down = errors.New("no partition yet")
	code, body = fetch(t, "GET", s.Addr(), "/readyz")
	require.Equal(t, 503, code)
	require.JSONEq(t, `{"ready": false, "reasons": {"kafka": "no partition yet"}}`, body)
	code, body = fetch(t, "GET", s.Addr(), "/metrics")
	require.Equal(t, 200, code)
	for _, name := range []string{"conveyance_test_total 7", "go_goroutines", "process_resident_memory_bytes"} {
		require.Contains(t, body, name)
	}
	code, _ = fetch(t, "POST", s.Addr(), "/readyz")
	require.Equal(t, 405, code)
	code, _ = fetch(t, "GET", s.Addr(), "/debug/pprof/")
	require.Equal(t, 404, code)
}

func TestServerFreesItsPortAndClosesTwiceAndDropsASlowClient(t *testing.T) {
	t.Parallel()
	s, err := observe.Serve(t.Context(), "127.0.0.1:0", observe.NewRegistry(), nil)
	require.NoError(t, err)
	slow, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer func() { _ = slow.Close() }()
	_, err = io.WriteString(slow, "GET /healthz HTTP/1.1\r\n") // and never ends it
	require.NoError(t, err)

	_, err = observe.Serve(t.Context(), s.Addr(), observe.NewRegistry(), nil)
	require.ErrorContains(t, err, "listening for health and metrics on "+s.Addr())
	start := time.Now()
	s.Close()
	s.Close()
	require.Less(t, time.Since(start), 5*time.Second)
	again, err := observe.Serve(t.Context(), s.Addr(), observe.NewRegistry(), nil)
	require.NoError(t, err)
	again.Close()
}

func TestTraceGoesFromRecordToRecord(t *testing.T) {
	t.Parallel()
	first := observe.NewTrace()
	read, ok := observe.ParseTrace(first.String())
	require.True(t, ok)
	require.Equal(t, first, read)
	next := read.Child()
	require.Equal(t, first.ID, next.ID)
	require.NotEqual(t, first.Span, next.Span)
	require.NotEqual(t, first.ID, observe.NewTrace().ID)
	require.Equal(t, next, observe.TraceOf(observe.WithTrace(t.Context(), next)))
	require.NotEqual(t, observe.Trace{}, observe.TraceOf(t.Context()))

	known, ok := observe.ParseTrace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	require.True(t, ok)
	require.True(t, known.Sampled)
	require.Equal(t, zap.String("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"), observe.TraceID(known))
	later, ok := observe.ParseTrace("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what-comes")
	require.True(t, ok)
	require.False(t, later.Sampled)
}

func TestBrokenTraceparentIsNone(t *testing.T) {
	t.Parallel()
	for _, h := range []string{
		"", "junk", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
	} {
		got, ok := observe.ParseTrace(h)
		require.False(t, ok, h)
		require.Equal(t, observe.Trace{}, got)
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("----")
	f.Fuzz(func(t *testing.T, header string) {
		got, ok := observe.ParseTrace(header)
		if !ok {
			return
		}
		again, ok := observe.ParseTrace(got.String())
		require.True(t, ok)
		require.Equal(t, got, again)
	})
}

func TestPersonalDataShowsNoCharacterHoweverItIsPrinted(t *testing.T) {
	t.Parallel()
	for clear, mask := range map[string]string{
		"maria@example.com": "[e-mail]", "+1 (312) 555-0199": "[number]", "Maria Lopez": "[personal]", "": "",
	} {
		value := observe.Personal(clear)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			require.Equal(t, mask, fmt.Sprintf(verb, value))
			if clear != "" {
				require.NotContains(t, fmt.Sprintf(verb, struct{ hidden observe.PII }{value}), clear)
			}
		}
		text, err := json.Marshal(map[observe.PII]observe.PII{value: value})
		require.NoError(t, err)
		require.JSONEq(t, fmt.Sprintf(`{%q: %q}`, mask, mask), string(text))

		var out bytes.Buffer
		log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(&out), zap.InfoLevel))
		log.Info("x", zap.Stringer("a", value), zap.Reflect("b", value), zap.Reflect("c", struct{ P observe.PII }{value}))
		if clear != "" {
			require.NotContains(t, out.String(), clear)
			require.Contains(t, out.String(), mask)
		}
		require.Equal(t, clear, value.Reveal())
	}
}

func TestNoPersonalDataIsEmpty(t *testing.T) {
	t.Parallel()
	require.Empty(t, observe.PII{}.String())
	require.Empty(t, observe.PII{}.Reveal())
}

func TestUnknownLogLevelSaysWhichThereAre(t *testing.T) {
	t.Parallel()
	_, err := observe.NewLogger("fetch", "loud")
	require.ErrorContains(t, err, `log level "loud": use debug, info, warn or error`)
	log, err := observe.NewLogger("fetch", "warn")
	require.NoError(t, err)
	require.False(t, log.Core().Enabled(zap.InfoLevel))
	require.True(t, log.Core().Enabled(zap.WarnLevel))
}

func TestFieldsHaveTheirNames(t *testing.T) {
	t.Parallel()
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range []zap.Field{
		observe.Tenant("t"), observe.Account("a"), observe.Topic("deals.v1"), observe.Partition(1), observe.Offset(2), observe.EventID("e"),
		observe.Key("k"), observe.Attempt(3), observe.Cause("c"), observe.Duration(1500 * time.Microsecond), observe.Err(errors.New("x")),
	} {
		f.AddTo(enc)
	}
	require.Equal(t, map[string]any{
		"tenant": "t", "account": "a", "topic": "deals.v1", "partition": int32(1), "offset": int64(2), "event_id": "e",
		"key": "k", "attempt": int64(3), "cause": "c", "duration_ms": 1.5, "error": "x",
	}, enc.Fields)
}
