package ingest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

func TestAcceptedDeliveryIsOnTheBusAsItCame(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	body := bodyOf("d-1", "a-1") // some vendors write their ids in either case
	r := request(http.MethodPost, "/in/acme/"+tokenLakeshore, keyLakeshore, body)
	r.Header.Set("Authorization", "Bearer planted-credential")
	r.Header.Set("Cookie", "planted=cookie")
	r.Header.Set("X-Acme-Timestamp", "17\xff")
	resp := h.send(r)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	records, keys := h.bus.all()
	require.Equal(t, []*event.WebhookReceived{{
		Tenant: "lakeshore", Vendor: "acme", Account: "main", DeliveryID: "d-1", ReceivedAt: h.now, VerifiedBy: "k1",
		Headers: []event.Header{
			{Name: signatureHeader, Value: r.Header.Get(signatureHeader)},
			{Name: "X-Acme-Timestamp", Value: "17\uFFFD"},
		},
		Body: []byte(body),
	}}, records)
	require.Equal(t, []string{"lakeshore/acme/main/d-1"}, keys)
}

func TestNothingIsAnsweredBeforeKafkaHasIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, twoBrokerages())
		h.bus.gate = make(chan struct{})
		answered := make(chan int, 1)
		go func() { answered <- h.deliver(bodyOf("d-1", "A-1")).StatusCode }()
		<-time.After(900 * time.Millisecond) // of the bubble's clock
		require.Empty(t, answered)
		close(h.bus.gate)
		require.Equal(t, http.StatusOK, <-answered)
	})
}

func TestFourRefusalsAreTheSameBytesAtTheSameTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, twoBrokerages(), func(c *Config, _ *Deps) { c.RejectAfter = 20 * time.Millisecond })
		var answers []string
		for _, r := range refusals() {
			began := time.Now()
			resp := h.send(r)
			require.Equal(t, 20*time.Millisecond, time.Since(began))
			var b bytes.Buffer
			require.NoError(t, resp.Write(&b))
			answers = append(answers, b.String())
		}
		for _, a := range answers {
			require.True(t, strings.HasPrefix(a, "HTTP/1.1 401 "), a)
			require.True(t, strings.HasSuffix(a, "\r\n\r\n"), "an empty body")
			require.Equal(t, answers[0], a)
		}
		records, _ := h.bus.all()
		require.Empty(t, records)
		for _, reason := range []string{"unknown token", "signature", "unsigned", "another account"} {
			require.Equal(t, 1, h.count(t, reason), reason)
		}
	})
}

// refusals are an unknown token, a wrong key, no signature, and another tenant's account.
func refusals() []*http.Request {
	const path = "/in/acme/" + tokenLakeshore
	good := bodyOf("d-1", "A-1")
	return []*http.Request{
		request(http.MethodPost, "/in/acme/nobody-has-this-one-token", keyLakeshore, good),
		request(http.MethodPost, path, keyRedrock, good),
		request(http.MethodPost, path, "", good),
		request(http.MethodPost, path, keyLakeshore, bodyOf("d-1", "A-2")),
	}
}

func TestWhatIsNoDeliveryIsToldSoWhateverTheToken(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 4<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for _, token := range []string{tokenLakeshore, "nobody-has-this-one-token"} {
		path := "/in/acme/" + token
		for want, r := range map[int][]*http.Request{
			http.StatusMethodNotAllowed: {request(http.MethodGet, path, keyLakeshore, ""), request(http.MethodPut, path, keyLakeshore, "{}")},
			http.StatusNotFound: {
				request(http.MethodPost, "/in/nobody/"+token, keyLakeshore, "{}"), request(http.MethodPost, "/in/deaf/"+token, keyLakeshore, "{}"),
				request(http.MethodPost, "/in/acme", keyLakeshore, "{}"), request(http.MethodPost, path+"/more", keyLakeshore, "{}"),
				request(http.MethodPost, "/other", keyLakeshore, "{}"),
			},
			http.StatusUnsupportedMediaType: {
				with(request(http.MethodPost, path, keyLakeshore, bomb.String()), "Content-Encoding", "gzip"),
				with(request(http.MethodPost, path, keyLakeshore, "{}"), "Content-Encoding", "br"),
				with(request(http.MethodPost, path, keyLakeshore, "{}"), "Content-Type", "text/xml"),
				with(request(http.MethodPost, path, keyLakeshore, "{}"), "Content-Type", ""),
			},
			http.StatusRequestEntityTooLarge: {request(http.MethodPost, path, keyLakeshore, strings.Repeat(" ", bodyBytesMax+1))},
		} {
			for _, one := range r {
				resp := h.send(one)
				require.Equal(t, want, resp.StatusCode, "%s %s", one.Method, one.URL.Path)
			}
		}
	}
	require.Equal(t, http.StatusOK, h.send(with(request(http.MethodPost, "/in/acme/"+tokenLakeshore, keyLakeshore, "{}"),
		"Content-Type", "application/cloudevents-batch+json")).StatusCode)
}

func with(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}

func TestLargestBodyIsTakenAndOneByteMoreIsNot(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	whole := `{"id":"large","account":"A-1","pad":"` + strings.Repeat("x", bodyBytesMax-39) + `"}`
	require.Len(t, whole, bodyBytesMax)
	require.Equal(t, http.StatusOK, h.deliver(whole).StatusCode)
	chunked := request(http.MethodPost, "/in/acme/"+tokenLakeshore, keyLakeshore, whole+" ")
	chunked.ContentLength = -1
	require.Equal(t, http.StatusRequestEntityTooLarge, h.send(chunked).StatusCode)
	require.Zero(t, h.reading.used.Load(), "memory for reading is given back")
}

func TestOddBodiesThatAreSignedAreNotLost(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	var keys strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&keys, `"k%d":%d,`, i, i)
	}
	odd := []string{
		"", "no json", `{"id":`, strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat(`{"a":`, 50_000),
		"{" + keys.String() + `"id":"many"}`, `{"id":"first","id":"second"}`, `{"id":"` + strings.Repeat("x", 5000) + `"}`,
		`{"id":"line\nbreak"}`, "{\"id\":\"\xff\xfe\"}", `{"id":17}`,
	}
	for _, body := range odd {
		require.Equal(t, http.StatusOK, h.deliver(body).StatusCode, "%.40q", body)
	}
	records, _ := h.bus.all()
	require.Len(t, records, len(odd))
	for i, r := range records {
		require.Equal(t, odd[i], string(r.Body))
		require.Regexp(t, `^(many|second|sha256:[0-9a-f]{64})$`, r.DeliveryID)
	}
}

func TestReplayedCaptureIsTheSameDeliveryEachTime(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	for range 1000 {
		h.now = h.now.Add(90 * time.Second)
		require.Equal(t, http.StatusOK, h.deliver(bodyOf("captured", "A-1")).StatusCode)
	}
	_, keys := h.bus.all()
	require.Len(t, keys, 1000)
	for _, k := range keys {
		require.Equal(t, "lakeshore/acme/main/captured", k)
	}
}

func TestKeysRotateWithoutARequestLost(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)
	b := twoBrokerages()
	e := b.endpoints["acme/"+tokenLakeshore]
	e.Keys = []tenant.WebhookKey{
		{ID: "old", Key: []byte("old"), NotAfter: begin.Add(2 * time.Hour)},
		{ID: "new", Key: []byte("new"), NotBefore: begin.Add(time.Hour)},
	}
	b.endpoints["acme/"+tokenLakeshore] = e
	h := build(t, b)
	says := func(key string) int {
		return h.send(request(http.MethodPost, "/in/acme/"+tokenLakeshore, key, bodyOf("d", "A-1"))).StatusCode
	}
	for _, at := range []struct {
		after    time.Duration
		old, new int
	}{{0, 200, 401}, {time.Hour, 200, 200}, {2*time.Hour - 1, 200, 200}, {2 * time.Hour, 401, 200}} {
		h.now = begin.Add(at.after)
		require.Equal(t, at.old, says("old"), "old after %s", at.after)
		require.Equal(t, at.new, says("new"), "new after %s", at.after)
	}
	records, _ := h.bus.all()
	require.Equal(t, "new", records[len(records)-1].VerifiedBy)
}

func TestAccountWithoutALiveKeyTakesNothing(t *testing.T) {
	t.Parallel()
	b := twoBrokerages()
	e := b.endpoints["acme/"+tokenLakeshore]
	e.Keys = nil
	b.endpoints["acme/"+tokenLakeshore] = e
	h := build(t, b)
	for _, key := range []string{"", keyLakeshore, string(h.dummy)} { // not even with the key that nobody knows
		require.Equal(t, http.StatusUnauthorized,
			h.send(request(http.MethodPost, "/in/acme/"+tokenLakeshore, key, bodyOf("d", "A-1"))).StatusCode)
	}
	require.Equal(t, 3, h.count(t, "no live key"))
}

// tries counts the keys that each verification was given.
type tries struct {
	acme
	mu sync.Mutex
	n  []int
}

func (v *tries) Verify(h http.Header, body []byte, keys []producers.Secret) (string, error) {
	v.mu.Lock()
	v.n = append(v.n, len(keys))
	v.mu.Unlock()
	return v.acme.Verify(h, body, keys)
}

func TestUnknownTokenIsAsMuchWorkAsAKnownOne(t *testing.T) {
	t.Parallel()
	b := twoBrokerages()
	e := b.endpoints["acme/"+tokenRedrock]
	for i := range 4 {
		e.Keys = append(e.Keys, tenant.WebhookKey{ID: strconv.Itoa(i), Key: []byte{byte(i)}})
	}
	b.endpoints["acme/"+tokenRedrock] = e
	v := &tries{}
	h := build(t, b, func(_ *Config, d *Deps) { d.Vendors = []producers.Vendor{{Name: "acme", Webhook: v}} })
	for _, token := range []string{tokenLakeshore, "nobody", tokenRedrock, tokenLakeshore, "nobody"} {
		h.send(request(http.MethodPost, "/in/acme/"+token, "wrong", "{}"))
	}
	require.Equal(t, []int{1, 1, 0, 2, 5, 0, 1, 4, 0, 5}, v.n, "each in two steps: the live keys, and keys that sign nothing")
}

func TestRefusedByKafkaIsToldToComeAgain(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	require.NoError(t, h.Ready())
	h.bus.err = errors.New("not enough replicas")
	resp := h.deliver(bodyOf("d", "A-1"))
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, retryAfter, resp.Header.Get("Retry-After"))
	require.ErrorIs(t, h.Ready(), errAway)
	h.bus.err = nil
	require.Equal(t, http.StatusOK, h.deliver(bodyOf("d", "A-1")).StatusCode)
	require.NoError(t, h.Ready())
}

func TestBrokenBodyIsNoDelivery(t *testing.T) {
	t.Parallel()
	h := build(t, twoBrokerages())
	r := request(http.MethodPost, "/in/acme/"+tokenLakeshore, keyLakeshore, "{}")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), broken{}))
	require.Equal(t, http.StatusBadRequest, h.send(r).StatusCode)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
