package docusign_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/producers"
)

// signed is how Connect delivers: a numbered header for each key.
func signed(body []byte, keys ...[]byte) http.Header {
	h := http.Header{}
	for i, k := range keys {
		h.Set("X-DocuSign-Signature-"+strconv.Itoa(i+1), mac(k, body))
	}
	return h
}

func mac(key, body []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write(body)
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

func TestPublishedVectorIsAccepted(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/deliveries/thin.json")
	require.NoError(t, err)
	h := http.Header{}
	h.Set("X-DocuSign-Signature-1", "CEEXQEy+cec65U7W1npKwzpqwHsjxSeRJ/iJ7Uf9Hgk=")
	id, err := mapper(t).Webhook.Verify(h, body, []producers.Secret{{ID: "k1", Key: []byte("test-connect-key")}})
	require.NoError(t, err)
	require.Equal(t, "k1", id)
}

func TestEveryNumberFromOneToAHundredCountsAndNoOther(t *testing.T) {
	t.Parallel()
	v, body, key := mapper(t).Webhook, []byte(`{}`), []byte("planted-key")
	keys := []producers.Secret{{ID: "k", Key: key}}
	for name, accepted := range map[string]bool{
		"1": true, "2": true, "57": true, "100": true, "0": false, "101": false, "-1": false, "01": false, "": false, "x": false,
	} {
		id, err := v.Verify(http.Header{http.CanonicalHeaderKey("X-DocuSign-Signature-" + name): {mac(key, body)}}, body, keys)
		require.Equal(t, accepted, err == nil, "number %q", name)
		require.Equal(t, accepted, id == "k")
	}
	h := http.Header{}
	for n := range 100_000 {
		h["X-Docusign-Signature-"+strconv.Itoa(n+101)] = []string{mac(key, body)}
	}
	_, err := v.Verify(h, body, keys)
	require.Error(t, err, "beyond a hundred nothing is looked at")
}

func TestKeyIsUsedAsItIsWritten(t *testing.T) {
	t.Parallel()
	v, body := mapper(t).Webhook, []byte(`{}`)
	text := base64.StdEncoding.EncodeToString([]byte("a key that looks like base64"))
	raw, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	keys := []producers.Secret{{ID: "k", Key: []byte(text)}}
	_, err = v.Verify(signed(body, []byte(text)), body, keys)
	require.NoError(t, err)
	_, err = v.Verify(signed(body, raw), body, keys)
	require.Error(t, err)
}

// Base64 of 32 bytes has two bits that say nothing: four texts decode to one signature.
func TestOnlyOneTextIsASignature(t *testing.T) {
	t.Parallel()
	v, key := mapper(t).Webhook, []byte("k")
	for n := range 64 {
		body := []byte(strconv.Itoa(n))
		good := mac(key, body)
		for c := range 256 {
			text := good[:42] + string(rune(c)) + "="
			_, err := v.Verify(http.Header{"X-Docusign-Signature-1": {text}}, body, []producers.Secret{{ID: "k", Key: key}})
			require.Equal(t, text == good, err == nil, "%q for %q", text, good)
		}
	}
}

func TestOneHeaderThatIsNoSignatureRefusesTheDelivery(t *testing.T) {
	t.Parallel()
	v, body, key := mapper(t).Webhook, []byte(`{}`), []byte("k")
	for _, garbage := range [][]string{{""}, {"x"}, {}, {"A", "B"}, {strings.Repeat("A", 10_000)}, {mac(key, body) + "\n"}} {
		h := signed(body, key)
		h["X-Docusign-Signature-2"] = garbage
		_, err := v.Verify(h, body, []producers.Secret{{ID: "k", Key: key}})
		require.Error(t, err, "%q", garbage)
	}
}

func FuzzVerify(f *testing.F) {
	v, key := mapper(f).Webhook, []byte("planted-key")
	f.Add("1", mac(key, []byte(`{}`)), []byte(`{}`))
	f.Add("2", "CEEXQEy+cec65U7W1npKwzpqwHsjxSeRJ/iJ7Uf9Hgk=", []byte(`{"event":"envelope-sent"}`))
	f.Add("0", "", []byte{})
	f.Fuzz(func(t *testing.T, number, value string, body []byte) {
		id, err := v.Verify(http.Header{"X-Docusign-Signature-" + number: {value}}, body, []producers.Secret{{ID: "k", Key: key}})
		n, parsed := strconv.Atoi(number)
		right := parsed == nil && strconv.Itoa(n) == number && n >= 1 && n <= 100 && value == mac(key, body)
		require.Equal(t, right, err == nil)
		require.Equal(t, right, id == "k")
	})
}

func FuzzHints(f *testing.F) {
	v := mapper(f)
	bodies, err := filepath.Glob("testdata/deliveries/*.json")
	require.NoError(f, err)
	for _, b := range bodies {
		body, err := os.ReadFile(b)
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := v.Webhook.Hints(body)
		again, err2 := v.Webhook.Hints(body)
		require.Equal(t, d, again)
		require.Equal(t, err, err2)
		if err != nil {
			require.Equal(t, producers.Delivery{}, d)
			return
		}
		require.Len(t, d.ID, 64)
		require.Len(t, d.Account, 36)
		for _, r := range d.Resources {
			require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, r.ID)
		}
		if d.Fact != nil {
			require.Equal(t, d.Resources[0], d.Fact.Resource)
			checkMap(t, v, d.Fact.Parts[0].Body)
		}
		if d.Partial != nil {
			require.Nil(t, d.Fact)
			require.Equal(t, d.Resources[0], d.Partial.Resource)
			checkMap(t, v, d.Partial.Parts[0].Body)
		}
	})
}

func TestDeliveryKeepsItsIDFromAttemptToAttempt(t *testing.T) {
	t.Parallel()
	v := mapper(t).Webhook
	body := func(change ...string) []byte {
		b, err := os.ReadFile("testdata/deliveries/recipient.json")
		require.NoError(t, err)
		return []byte(strings.NewReplacer(change...).Replace(string(b)))
	}
	id := func(b []byte) string {
		d, err := v.Hints(b)
		require.NoError(t, err)
		return d.ID
	}
	require.Equal(t, id(body()), id(body(`"retryCount":"3"`, `"retryCount":4`)))
	for _, change := range [][]string{
		{`"configurationId":"22028153"`, `"configurationId":"22028154"`},
		{`"recipientId":"2"`, `"recipientId":"3"`},
		{"recipient-completed", "recipient-declined"},
		{"58.9584687Z", "58.9584688Z"},
		{`"envelopeId":"4`, `"envelopeId":"5`},
	} {
		require.NotEqual(t, id(body()), id(body(change...)), change)
	}
}

func TestSameEnvelopeHasOneDigestHoweverItCame(t *testing.T) {
	t.Parallel()
	v := mapper(t)
	digests := map[string]bool{}
	for _, name := range []string{"summary_completed", "summary_texts"} {
		body, err := os.ReadFile("testdata/deliveries/" + name + ".json")
		require.NoError(t, err)
		d, err := v.Webhook.Hints(body)
		require.NoError(t, err)
		require.NotNil(t, d.Fact, name)
		digests[d.Fact.Digest] = true
	}
	s, reached, a := serve(t)
	s.mu.Lock()
	s.envelopes[known] = usual(t, "completed")
	s.envelopes["4d3420b8-ce24-8a0a-8135-63c9bb1d0c7f"] = usual(t, "leaves_are_typed")
	s.mu.Unlock()
	snap, err := reached.Fetcher.Fetch(t.Context(), a, resource(known))
	require.NoError(t, err)
	digests[snap.Digest] = true
	require.Len(t, digests, 1, fmt.Sprint(digests))
}

func BenchmarkVerify(b *testing.B) {
	v := mapper(b).Webhook
	body := []byte(strings.Repeat("x", 2048))
	keys := []producers.Secret{{ID: "k1", Key: []byte("one")}, {ID: "k2", Key: []byte("two")}}
	h := signed(body, keys[1].Key)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := v.Verify(h, body, keys); err != nil {
			b.Fatal(err)
		}
	}
}
