package skyslope

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox/world"
)

func TestLoginSignatureIsTheVendors(t *testing.T) {
	t.Parallel()
	require.Equal(t, "dWgY2+kcHoLzKnIyACAJignhshr4UzUD8AEXudUmx9w=",
		sign("test-access-secret", "test-client-id:test-client-secret:2020-10-13T18:38:42Z"))
}

// FuzzRawControls holds that a client who strips control characters reads what was written.
func FuzzRawControls(f *testing.F) {
	for _, seed := range []string{"a\u0001b", "\\u0001", "\\\\\u001a\"\n", "\u0000", "é\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		clean := func(s string) string {
			out := []byte{}
			for i := range len(s) {
				if c := s[i]; c != 0 && c != 1 && c != 0x1a {
					out = append(out, c)
				}
			}
			return string(out)
		}
		body, err := json.Marshal(text)
		require.NoError(t, err)
		var want, got string
		require.NoError(t, json.Unmarshal(body, &want))
		require.NoError(t, json.Unmarshal([]byte(clean(string(rawControls(body)))), &got))
		require.Equal(t, clean(want), got)
	})
}

func FuzzBulkFilter(f *testing.F) {
	f.Add("modifiedAfter=2026-03-01T12:00:00.123&type=sale")
	f.Add("closedBefore=01/02/2026&email=a@b&propertyAddress=x")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Skip()
		}
		s := &api{base: world.Base{Clock: func() time.Time { return time.Unix(0, 0) }}}
		if got, err := s.filter(q); err == nil {
			require.NotEmpty(t, got.spans)
		}
	})
}

func FuzzSession(f *testing.F) {
	a := world.Account{Tenant: "t", Credential: map[string]string{"access_key": "k", "access_secret": "s"}}
	good := token(a, "1000")
	f.Add(good)
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, tok string) {
		s := &api{byKey: map[string]world.Account{"k": a}, base: world.Base{Clock: func() time.Time { return time.UnixMilli(999) }}}
		_, live := s.session(tok)
		require.Equal(t, tok == good, live)
	})
}
