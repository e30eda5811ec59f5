package event

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestKeysOfTheseResourcesAreForEver(t *testing.T) {
	t.Parallel()
	require.Equal(t, "lakeshore/skyslope/main/sale/7f3c", sale.Key())
	odd := Resource{Tenant: "a/b", Vendor: "", Account: "100%", Kind: "loop", ID: "é 1"}
	require.Equal(t, "a%2Fb//100%25/loop/%C3%A9%201", odd.Key())
}

func TestParseKeyIsTheInverseOfKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := resources().Draw(t, "a"), resources().Draw(t, "b")
		read, err := ParseKey(a.Key())
		require.NoError(t, err)
		require.Equal(t, a, read)
		require.Equal(t, a == b, a.Key() == b.Key())
	})
}

func TestParseKeyRefusesWhatKeyNeverMakes(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "a/b/c/d", "a/b/c/d/e/f", "a/b/c/d/%", "a/b/c/d/%zz"} {
		_, err := ParseKey(key)
		require.ErrorContains(t, err, "resource key", key)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("lakeshore/skyslope/main/sale/7f3c")
	f.Add("a%2Fb//100%25/loop/%C3%A9%201")
	f.Add("%/%/%/%/%")
	f.Fuzz(func(t *testing.T, key string) {
		r, err := ParseKey(key)
		if err != nil {
			return
		}
		again, err := ParseKey(r.Key())
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

func TestPseudonymsAreStableSecretAndApartByKind(t *testing.T) {
	t.Parallel()
	a, b := []byte("key of tenant a, 32 bytes long .."), []byte("key of tenant b, 32 bytes long ..")
	const mail = "jane@example.com"
	require.Equal(t, "cc-lgFgeePSB13muSf-lcB", Pseudonym(a, "email", mail), "links and claims hold it for ever")
	require.NotEqual(t, Pseudonym(a, "email", mail), Pseudonym(b, "email", mail), "no tenant can tell another's people")
	require.NotEqual(t, Pseudonym(a, "email", "1"), Pseudonym(a, "phone", "1"))
	require.NotEqual(t, Pseudonym(a, "emai", "l1"), Pseudonym(a, "email", "1"))
	require.Regexp(t, `^[A-Za-z0-9_-]{22}$`, Pseudonym(a, "email", strings.Repeat(mail, 1000)))
}

func TestContactKeyIsTheFirstEmailElsePhoneElsePlace(t *testing.T) {
	t.Parallel()
	key := []byte("tenant")
	both := Contact{Emails: []string{"a@x.org", "b@x.org"}, Phones: []string{"+13125550100"}}
	require.Equal(t, Pseudonym(key, "email", "a@x.org"), ContactKey(key, both, "p"))
	require.Equal(t, Pseudonym(key, "phone", "+13125550100"), ContactKey(key, Contact{Phones: both.Phones}, "p"))
	require.Equal(t, Pseudonym(key, "place", "p"), ContactKey(key, Contact{FullName: "Jane"}, "p"))
}
