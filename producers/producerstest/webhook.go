package producerstest

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"conveyance/producers"
)

// deliveries is the folder of testdata that holds bodies of webhooks, and beside each body.json what
// Hints says of it: body.hints.
const deliveries = "deliveries"

// mutations of valid requests that are tried, of every kind in turn.
const mutations = 10_000

func webhook(t *testing.T, leaf Leaf) {
	require.NotNil(t, leaf.Sign, "a vendor with webhooks signs them")
	require.Positive(t, leaf.Vendor.Answer, "a vendor waits for an answer")
	bodies := readDeliveries(t, leaf)
	t.Run("every delivery is read as recorded, and purely", func(t *testing.T) {
		for name, body := range bodies {
			t.Run(name, func(t *testing.T) { hints(t, leaf, name, body) })
		}
	})
	t.Run("what a live key signed is accepted, and its key is named", func(t *testing.T) {
		for _, body := range bodies {
			accepted(t, leaf, body)
		}
	})
	t.Run("no mutation of a signed request is accepted", func(t *testing.T) { mutated(t, leaf, bodies) })
}

func readDeliveries(t *testing.T, leaf Leaf) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(leaf.Testdata, deliveries, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no deliveries in %s", leaf.Testdata)
	out := map[string][]byte{}
	for _, f := range files {
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		out[strings.TrimSuffix(filepath.Base(f), ".json")] = body
	}
	return out
}

func hints(t *testing.T, leaf Leaf, name string, body []byte) {
	w, before := leaf.Vendor.Webhook, bytes.Clone(body)
	d, err := w.Hints(body)
	require.Equal(t, before, body, "Hints changed its input")
	got := text(t, d)
	if err != nil {
		require.Equal(t, producers.Delivery{}, d)
		got = err.Error() + "\n"
	}
	path := filepath.Join(leaf.Testdata, deliveries, name+".hints")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644)) //nolint:gosec // G306: a file of the repository
	}
	want, err2 := os.ReadFile(path)
	require.NoError(t, err2, "no golden file: run go test -update and read what it wrote")
	require.Equal(t, string(want), got, path)
	synctest.Test(t, func(t *testing.T) { // here it is the year 2000
		again, err2 := w.Hints(body)
		require.Equal(t, err, err2)
		require.Equal(t, d, again)
	})
	if err != nil {
		return
	}
	require.NotEmpty(t, d.ID)
	id, account, err := w.Whose(body)
	require.NoError(t, err)
	require.Equal(t, [2]string{d.ID, d.Account}, [2]string{id, account}, "the door and intake agree")
	for _, r := range d.Resources {
		require.Equal(t, leaf.Vendor.Name, r.Vendor)
		require.Contains(t, leaf.Vendor.Kinds, r.Kind)
		require.NotEmpty(t, r.ID)
		require.Empty(t, r.Tenant+r.Account, "whose it is, the path says")
	}
	if d.Fact != nil {
		require.Contains(t, d.Resources, d.Fact.Resource)
		require.Positive(t, d.Fact.Version)
		require.Len(t, d.Fact.Digest, 64)
		require.False(t, d.Fact.Gone, "a deletion is believed only when it is read")
		_, err := leaf.Vendor.Mapper.Map(*d.Fact)
		require.NoError(t, err, "what came with a webhook maps")
	}
	if d.Partial != nil {
		require.Nil(t, d.Fact)
		require.NotNil(t, leaf.Vendor.Completer, "who fills it?")
		require.Contains(t, d.Resources, d.Partial.Resource)
		require.Positive(t, d.Partial.Version)
		require.NotEmpty(t, d.Partial.Parts)
		require.Empty(t, d.Partial.Digest, "what is not whole has no digest")
		require.False(t, d.Partial.Gone, "a deletion is believed only when it is read")
		_, ok := leaf.Vendor.Completer.Complete(*d.Partial, nil)
		require.False(t, ok, "nothing completes nothing")
	}
}

// keys of a test: each has its id as a part.
func keys(ids ...string) []producers.Secret {
	out := make([]producers.Secret, len(ids))
	for i, id := range ids {
		out[i] = producers.Secret{ID: id, Key: []byte("planted-" + id + "-0bYxrLFqCGwzFyvC9Yk3Y0pAkzJgWwHtH7Q=")}
	}
	return out
}

func accepted(t *testing.T, leaf Leaf, body []byte) {
	verify := leaf.Vendor.Webhook.Verify
	ours := keys("k1", "k2", "k3")
	for _, k := range ours {
		id, err := verify(leaf.Sign(body, k.Key), body, ours)
		require.NoError(t, err)
		require.Equal(t, k.ID, id)
	}
	id, err := verify(leaf.Sign(body, []byte("a key of somebody else"), ours[2].Key, ours[1].Key), body, ours)
	require.NoError(t, err, "any one key is enough")
	require.Equal(t, "k2", id, "of several the first of ours is named")
	_, err = verify(leaf.Sign(body, ours[0].Key), body, nil)
	require.Error(t, err, "no key accepts nothing")
	_, err = verify(leaf.Sign(body, nil), body, []producers.Secret{{ID: "empty"}})
	require.Error(t, err, "an empty key is no key")
}

// request is one that a mutation changes.
type request struct {
	header http.Header
	body   []byte
	keys   []producers.Secret
}

// mutated changes one thing of a valid request at a time.
func mutated(t *testing.T, leaf Leaf, bodies map[string][]byte) {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range bodies {
			if !yield(name) {
				return
			}
		}
	})
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano()))) //nolint:gosec // G404: a test
	kinds := mutators()
	for tried := 0; tried < mutations; {
		body := bytes.Clone(bodies[names[r.IntN(len(names))]])
		ours := keys("k1", "k2")
		req := request{leaf.Sign(body, ours[0].Key), body, ours}
		m := kinds[tried%len(kinds)]
		if !m.change(r, &req) {
			kinds = slices.Concat(kinds[1:], kinds[:1]) // this body has nothing to change so
			continue
		}
		tried++
		id, err := leaf.Vendor.Webhook.Verify(req.header, req.body, req.keys)
		require.Error(t, err, "%s: %q signed %v", m.name, req.body, req.header)
		require.Empty(t, id)
		require.NotContains(t, err.Error(), "planted")
	}
}

type mutator struct {
	name   string
	change func(*rand.Rand, *request) bool // false where it changed nothing
}

func mutators() []mutator {
	return []mutator{
		{"bit of the body", func(r *rand.Rand, q *request) bool { return flip(r, q.body) }},
		{"letter of the body in another case", func(r *rand.Rand, q *request) bool { return recase(r, q.body) }},
		{"white space in the body", func(r *rand.Rand, q *request) bool {
			at := r.IntN(len(q.body) + 1)
			q.body = slices.Insert(q.body, at, " \t\r\n"[r.IntN(4)])
			return true
		}},
		{"truncated body", func(r *rand.Rand, q *request) bool { q.body = q.body[:r.IntN(len(q.body))]; return true }},
		{"bit of the signature", onValue(flip)},
		{"letter of the signature in another case", onValue(recase)},
		{"white space in the signature", onHeader(func(r *rand.Rand, v string) []string {
			at := r.IntN(len(v) + 1)
			return []string{v[:at] + " \t\r\n"[r.IntN(4):][:1] + v[at:]}
		})},
		{"truncated signature", onHeader(func(r *rand.Rand, v string) []string { return []string{v[:r.IntN(len(v))]} })},
		{"something behind the signature", onHeader(func(r *rand.Rand, v string) []string {
			return []string{v + []string{"=", "A", v, "\x00", "," + v}[r.IntN(5)]}
		})},
		{"duplicated header", onHeader(func(_ *rand.Rand, v string) []string { return []string{v, v} })},
		{"another one before or behind it", onHeader(func(r *rand.Rand, v string) []string {
			other := base64.StdEncoding.EncodeToString(make([]byte, 32))
			if r.IntN(2) == 0 {
				return []string{v, other}
			}
			return []string{other, v}
		})},
		{"no header", onHeader(func(*rand.Rand, string) []string { return nil })},
		{"bit of the key", func(r *rand.Rand, q *request) bool {
			q.keys = q.keys[:1]
			return flip(r, q.keys[0].Key)
		}},
		{"truncated key", func(r *rand.Rand, q *request) bool {
			q.keys = q.keys[:1]
			q.keys[0].Key = q.keys[0].Key[:r.IntN(len(q.keys[0].Key))]
			return true
		}},
		{"another key", func(_ *rand.Rand, q *request) bool { q.keys = q.keys[1:]; return true }},
	}
}

func flip(r *rand.Rand, b []byte) bool {
	if len(b) == 0 {
		return false
	}
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	return true
}

func recase(r *rand.Rand, b []byte) bool {
	for range 20 {
		if len(b) == 0 {
			return false
		}
		i := r.IntN(len(b))
		switch c := rune(b[i]); {
		case c < unicode.MaxASCII && unicode.IsLower(c), c < unicode.MaxASCII && unicode.IsUpper(c):
			b[i] ^= 0x20
			return true
		}
	}
	return false
}

// onHeader changes the values of one of the headers that hold the signature.
func onHeader(change func(r *rand.Rand, value string) []string) func(*rand.Rand, *request) bool {
	return func(r *rand.Rand, q *request) bool {
		for name, values := range q.header {
			if next := change(r, values[0]); next != nil {
				q.header[name] = next
			} else {
				delete(q.header, name)
			}
			return true
		}
		return false
	}
}

func onValue(change func(*rand.Rand, []byte) bool) func(*rand.Rand, *request) bool {
	return onHeader(func(r *rand.Rand, v string) []string {
		b := []byte(v)
		for !change(r, b) {
			continue
		}
		return []string{string(b)}
	})
}
