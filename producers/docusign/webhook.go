package docusign

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"conveyance/producers"
)

const (
	// signaturesMax is how many keys an account may have: DocuSign sends one numbered header for each.
	signaturesMax = 100
	// signatureHeader is followed by its number, from 1, as net/http writes names.
	signatureHeader = "X-Docusign-Signature-"
	// signatureBytes are those of a signature as text: 32 bytes in base64.
	signatureBytes = 44
)

var (
	errUnsigned = errors.New("verifying a delivery: no signature")
	errGarbled  = errors.New("verifying a delivery: a signature header is no signature, or comes twice")
	errForeign  = errors.New("verifying a delivery: signed by none of the keys")
)

// Verify implements producers.Webhook. A signature is the base64 of HMAC-SHA256 over the raw body,
// with the key's text as it stands (it looks like base64, and is not decoded). Texts are compared, not
// what they decode to, since base64 writes some bytes in several ways. One header that is no signature
// at all, or comes twice, refuses the delivery. The work depends on the body and the number of keys
// and headers alone: nothing ends early.
func (s *Source) Verify(h http.Header, body []byte, keys []producers.Secret) (keyID string, err error) {
	signatures, garbled := s.signatures(h)
	matched := -1
	for i := len(keys) - 1; i >= 0; i-- {
		mine := s.macs.sign(keys[i].Key, body)
		for _, theirs := range signatures {
			if hmac.Equal(mine, theirs) && len(keys[i].Key) > 0 {
				matched = i
			}
		}
	}
	switch {
	case garbled:
		return "", errGarbled
	case len(signatures) == 0:
		return "", errUnsigned
	case matched < 0:
		return "", errForeign
	}
	return keys[matched].ID, nil
}

// signatures are the values of the numbered headers, at most signaturesMax whatever was sent.
func (s *Source) signatures(h http.Header) (found [][]byte, garbled bool) {
	for name, values := range h {
		if !strings.HasPrefix(name, signatureHeader) || !slices.Contains(s.signatureNames, name) {
			continue
		}
		if len(values) != 1 || !isSignature(values[0]) {
			garbled = true
			continue
		}
		found = append(found, []byte(values[0]))
	}
	return found, garbled
}

// signatureNames are the names of all numbered headers, made once.
func signatureNames() []string {
	names := make([]string, signaturesMax)
	for n := range names {
		names[n] = signatureHeader + strconv.Itoa(n+1)
	}
	return names
}

var strict = base64.StdEncoding.Strict()

// isSignature says whether a text is 32 bytes in base64 as an encoder writes them.
func isSignature(text string) bool {
	if len(text) != signatureBytes {
		return false
	}
	var raw [sha256.Size + 1]byte // as much as the decoder may write
	n, err := strict.Decode(raw[:], []byte(text))
	return err == nil && n == sha256.Size
}

// macs keep what the HMAC of each key begins with, for as long as the process lives: there are as many as
// accounts had keys. The zero macs are empty.
type macs struct {
	mu  sync.RWMutex
	all map[string]*sync.Pool
}

func (m *macs) of(key []byte) *sync.Pool {
	m.mu.RLock()
	pool := m.all[string(key)]
	m.mu.RUnlock()
	if pool != nil {
		return pool
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[string]*sync.Pool{}
	}
	if m.all[string(key)] == nil {
		key := bytes.Clone(key)
		m.all[string(key)] = &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	}
	return m.all[string(key)]
}

// sign is the text that a body signed with a key comes with.
func (m *macs) sign(key, body []byte) []byte {
	pool := m.of(key)
	mac := pool.Get().(hash.Hash) //nolint:forcetypeassert // the pool makes them
	defer pool.Put(mac)
	mac.Reset()
	mac.Write(body)
	var sum [sha256.Size]byte
	return base64.StdEncoding.AppendEncode(make([]byte, 0, signatureBytes), mac.Sum(sum[:0]))
}
