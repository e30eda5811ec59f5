package ingest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"conveyance/internal/testkit"
)

// open serves a house to real clients.
func (h *house) open(t testing.TB, change ...func(*Server)) *Server {
	t.Helper()
	s, err := Listen(t.Context(), "127.0.0.1:0", h.Handler(), h.log)
	require.NoError(t, err)
	for _, c := range change {
		c(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return s
}

// client of its own, so that its connections end with the test.
func client(t testing.TB, connections int) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: connections}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: testkit.Patience}
}

// sent is lakeshore's delivery over the wire.
func sent(t testing.TB, addr, token, key, body string) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/in/acme/"+token, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set(signatureHeader, sign([]byte(key), []byte(body)))
	}
	return r
}

// raw sends bytes and returns the connection.
func raw(t testing.TB, addr, text string) net.Conn {
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	return c
}

func answerOf(t testing.TB, c net.Conn) string {
	require.NoError(t, c.SetReadDeadline(time.Now().Add(testkit.Patience)))
	text, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(text)
}

func TestRefusalsAreTheSameBytesOverTheWire(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	s := h.open(t)
	var answers []string
	for _, r := range refusals() {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		c := raw(t, s.Addr(), fmt.Sprintf(
			"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
			r.URL.Path, signatureHeader, r.Header.Get(signatureHeader), len(body), body))
		text := answerOf(t, c)
		at := strings.Index(text, "Date: ") // the second may have passed
		answers = append(answers, text[:at]+text[at+len("Date: Mon, 02 Jan 2006 15:04:05 GMT"):])
	}
	require.Contains(t, answers[0], "HTTP/1.1 401 Unauthorized\r\n")
	for _, a := range answers {
		require.Equal(t, answers[0], a)
	}
}

func TestEndlessBodyEndsAtTheLimit(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	s := h.open(t)
	c := raw(t, s.Addr(), "POST /in/acme/"+tokenLakeshore+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
	stopped := make(chan int, 1)
	go func() {
		n := 0
		chunk := "10000\r\n" + strings.Repeat(" ", 0x10000) + "\r\n"
		for ; n < 10_000; n++ {
			if _, err := io.WriteString(c, chunk); err != nil {
				break
			}
		}
		stopped <- n
	}()
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 413 Request Entity Too Large\r\n", line)
	require.Less(t, <-stopped, 10_000, "the connection is closed on it")
}

func TestAnnouncedSizeOverTheLimitIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	s := h.open(t)
	c := raw(t, s.Addr(), "POST /in/acme/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 26214400\r\n\r\n{")
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, " 413 ")
}

// TestThousandSlowClientsDoNotHurtOthers measures other clients' p99 with and without a thousand that send
// headers and never end them, in turn, and counts the medians; it shows too that the slow are told to go. It
// measures the memory of the process, so it runs alone.
func TestThousandSlowClientsDoNotHurtOthers(t *testing.T) {
	rounds, slack := 3, 50*time.Millisecond // of a machine that does much else
	if os.Getenv(envLong) != "" {
		rounds, slack = 15, 0
	}
	h := build(t, twoBrokerages())
	s := h.open(t)
	places := s.listener.(*limited).places
	cl := client(t, 1)
	p99 := func() time.Duration {
		var took []time.Duration
		for i := range 300 {
			began := time.Now()
			resp, err := cl.Do(sent(t, s.Addr(), tokenLakeshore, keyLakeshore, bodyOf(strconv.Itoa(i), "A-1")))
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.NoError(t, resp.Body.Close())
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	connected := func(n int) {
		require.Eventually(t, func() bool { return len(places) == n }, testkit.Patience, time.Millisecond)
	}
	p99() // the first requests pay for what is made once
	before := len(places)
	var quiet, beside []time.Duration
	for round := range rounds {
		memory, alone := heap(), p99()
		slow := make([]net.Conn, 1000)
		for i := range slow {
			slow[i] = raw(t, s.Addr(), "POST /in/acme/x HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		}
		connected(before + len(slow))
		during := p99()
		require.Less(t, int64(heap())-int64(memory), int64(64<<20), "memory")
		t.Logf("p99 %s, beside a thousand slow clients %s", alone, during)
		quiet, beside = append(quiet, alone), append(beside, during)
		for _, c := range slow {
			if round == 0 {
				_ = answerOf(t, c) // net/http closes it after headerTimeout, with or without a word
			}
			require.NoError(t, c.Close())
		}
		connected(before)
	}
	slices.Sort(quiet)
	slices.Sort(beside)
	alone, during := quiet[rounds/2], beside[rounds/2]
	t.Logf("medians %s and %s: %.2f times", alone, during, float64(during)/float64(alone))
	require.LessOrEqual(t, during, 2*alone+slack)
}

func TestSlowBodyIsToldSo(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	s := h.open(t, func(s *Server) { s.http.ReadTimeout = 50 * time.Millisecond })
	c := raw(t, s.Addr(), "POST /in/acme/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	require.Contains(t, answerOf(t, c), "HTTP/1.1 408 ")
}

func TestHeadersOverTheirLimitAreRefused(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	s := h.open(t)
	c := raw(t, s.Addr(), "POST /in/acme/x HTTP/1.1\r\nHost: x\r\nX-Large: "+strings.Repeat("x", 40<<10))
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, " 431 ")
}

func TestConnectionsBeyondTheLimitWaitForAPlace(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := limit(inner, 2)
	accepted := make(chan net.Conn, 3)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		raw(t, inner.Addr().String(), "x")
	}
	first, second := <-accepted, <-accepted
	require.Empty(t, accepted)
	require.NoError(t, first.Close())
	_ = first.Close() // twice gives one place
	third := <-accepted
	require.NoError(t, l.Close())
	<-ended // also while it waits for a place
	require.NoError(t, second.Close())
	require.NoError(t, third.Close())
}

func TestNothingPlantedIsLogged(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	s := h.open(t)
	cl := client(t, 1)
	for _, r := range append(refusals(), request(http.MethodPost, "/in/acme/"+tokenLakeshore, keyLakeshore, bodyOf("d", "A-1"))) {
		h.send(r)
	}
	h.bus.err = fmt.Errorf("kafka says no")
	resp, err := cl.Do(sent(t, s.Addr(), tokenLakeshore, keyLakeshore, bodyOf("d-2", "A-1")))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	_ = answerOf(t, raw(t, s.Addr(), "POST /in/acme/"+tokenLakeshore+" HTTP/1.1\r\n"+keyLakeshore+"\r\n\r\n"))
	families, err := h.metrics.Gather()
	require.NoError(t, err)
	said := fmt.Sprint(families)
	lines := h.logs.All()
	for _, line := range lines {
		said = fmt.Sprintln(said, line.Message, line.ContextMap())
	}
	require.Contains(t, said, "kafka says no")
	require.NotContains(t, said, "planted")
}

func TestServerSaysWhichAddressItCannotHave(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	_, err = Listen(t.Context(), l.Addr().String(), http.NotFoundHandler(), zap.NewNop())
	require.ErrorContains(t, err, "listening for webhooks on "+l.Addr().String())
}
