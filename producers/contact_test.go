package producers_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/producers"
)

func TestEmailsAreThoseThatCanBeWrittenTo(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		" Ann.Lee@Example.COM ":                      {"ann.lee@example.com"},
		"a@example.com; B@example.com,a@example.com": {"a@example.com", "b@example.com"},
		"Ann <ann@example.com>":                      {"ann@example.com"},
		"josé@example.com":                           {"josé@example.com"},
		"":                                           nil,
		"n/a":                                        nil,
		"ann@localhost":                              nil,
		"ann@@example.com":                           nil,
		"@example.com":                               nil,
		"ann@-example.com":                           nil,
		"ann@example..com":                           nil,
		strings.Repeat("a", 300) + "@x.com":          nil,
	} {
		got, _ := producers.Emails(in)
		require.Equal(t, want, got, in)
	}
	_, all := producers.Emails("ann@example.com, none")
	require.False(t, all)
	_, all = producers.Emails("ann@example.com")
	require.True(t, all)
}

func TestPhonesAreE164WhereTheyCanBeRead(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"(312) 555-0190":       "+13125550190",
		"312.555.0190":         "+13125550190",
		"1-312-555-0190":       "+13125550190",
		"+1 312 555 0190":      "+13125550190",
		"+44 20 7946 0018":     "+442079460018",
		"312-555-0190 ext. 12": "+13125550190",
		"call the office":      "",
		"after 6, ext. 12":     "",
		"555-0190":             "555-0190",
		" ":                    "",
	} {
		require.Equal(t, want, producers.Phone(in), in)
	}
}

func TestFastPhonesAreWhatTheLibrarySays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`\+?1?[ .(-]?[0-9]{3}[ .)-]{0,2}[0-9]{3}[ .-]?[0-9]{3,5}`).Draw(t, "text")
		want := strings.TrimSpace(text)
		if n, err := phonenumbers.Parse(want, "US"); err == nil && phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE {
			want = phonenumbers.Format(n, phonenumbers.E164)
		}
		require.Equal(t, want, producers.Phone(text), text)
	})
}

func FuzzContact(f *testing.F) {
	for _, seed := range []string{"ann@example.com;b@c.d", "+1 (312) 555-0190", "\x00@\xff", "+" + strings.Repeat("9", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		emails, _ := producers.Emails(in)
		for _, e := range emails {
			again, all := producers.Emails(e)
			require.True(t, all)
			require.Equal(t, []string{e}, again, "an address reads as itself")
		}
		if p := producers.Phone(in); p != "" && p[0] == '+' {
			require.Equal(t, p, producers.Phone(p), "a number reads as itself")
		}
	})
}

func BenchmarkPhone(b *testing.B) {
	for _, in := range []string{"(312) 555-0190", "+44 20 7946 0018"} {
		b.Run(fmt.Sprintf("%q", in), func(b *testing.B) {
			for b.Loop() {
				producers.Phone(in)
			}
		})
	}
}
