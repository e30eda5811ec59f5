package link

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/avro/event"
	"conveyance/producers"
)

// said makes claims of words such as "mls:1".
func said(words ...string) []Claim {
	var out []Claim
	for _, w := range words {
		for kind, short := range map[string]string{
			producers.ClaimDealID: "id", producers.ClaimMLS: "mls", producers.ClaimEscrow: "escrow",
			producers.ClaimEmail: "mail", producers.ClaimAddress: "at",
		} {
			if value, ok := cut(w, short); ok {
				out = append(out, Claim{kind, value})
			}
		}
	}
	slices.SortFunc(out, byKind)
	return out
}

func cut(word, kind string) (string, bool) {
	if len(word) > len(kind) && word[:len(kind)+1] == kind+":" {
		return word[len(kind)+1:], true
	}
	return "", false
}

func TestTheFirstRungThatGivesExactlyOneDealDecides(t *testing.T) {
	t.Parallel()
	const none = ""
	for name, tt := range map[string]struct {
		record []Claim
		deals  map[string][]Claim
		deal   string
		rung   event.LinkRung
	}{
		"the field": {
			said("id:1"), map[string][]Claim{"a": said("id:1"), "b": said("id:2")}, "a", event.LinkRungDealField,
		},
		"the field wins over the rest": {
			said("id:1", "mail:x", "mail:y"), map[string][]Claim{"a": said("id:1"), "b": said("id:2", "mail:x", "mail:y")}, "a", event.LinkRungDealField,
		},
		"the listing's number": {
			said("mls:1"), map[string][]Claim{"a": said("id:1", "mls:1"), "b": said("mls:2")}, "a", event.LinkRungMLSOrEscrow,
		},
		"the escrow's number": {
			said("escrow:1"), map[string][]Claim{"a": said("escrow:1")}, "a", event.LinkRungMLSOrEscrow,
		},
		"a deal without an escrow number yet": {
			said("mls:1", "escrow:1"), map[string][]Claim{"a": said("mls:1")}, "a", event.LinkRungMLSOrEscrow,
		},
		"two e-mails": {
			said("mail:x", "mail:y", "mail:z"), map[string][]Claim{"a": said("mail:x", "mail:y"), "b": said("mail:x")}, "a", event.LinkRungTwoEmails,
		},
		"an e-mail and the address": {
			said("mail:x", "at:1"), map[string][]Claim{"a": said("mail:x", "at:1"), "b": said("mail:x", "at:2")}, "a", event.LinkRungEmailAndAddress,
		},
		"one of two ways to write an address": {
			said("mail:x", "at:1"), map[string][]Claim{"a": said("mail:x", "at:1", "at:1+city")}, "a", event.LinkRungEmailAndAddress,
		},

		"one e-mail ties nothing":      {said("mail:x"), map[string][]Claim{"a": said("mail:x")}, none, ""},
		"the address alone neither":    {said("at:1"), map[string][]Claim{"a": said("at:1")}, none, ""},
		"no claims":                    {nil, map[string][]Claim{"a": said("at:1")}, none, ""},
		"no deals":                     {said("id:1"), nil, none, ""},
		"two deals of two people":      {said("mail:x", "mail:y"), map[string][]Claim{"a": said("mail:x", "mail:y"), "b": said("mail:x", "mail:y")}, none, ""},
		"two deals of one number":      {said("mls:1"), map[string][]Claim{"a": said("mls:1"), "b": said("mls:1")}, none, ""},
		"two people in two deals each": {said("mail:x", "mail:y"), map[string][]Claim{"a": said("mail:x"), "b": said("mail:y")}, none, ""},

		"a field that names no deal yet waits": {
			said("id:1", "mail:x", "mail:y"), map[string][]Claim{"b": said("id:2", "mail:x", "mail:y")}, none, "",
		},
		"a number that no deal has yet waits": {
			said("mls:1", "mail:x", "mail:y"), map[string][]Claim{"b": said("mail:x", "mail:y")}, none, "",
		},
		"two e-mails of which no deal has both yet wait": {
			said("mail:x", "mail:y", "at:1"), map[string][]Claim{"b": said("mail:x", "at:1")}, none, "",
		},

		"several of one number: two e-mails choose among them": {
			said("mls:1", "mail:x", "mail:y"),
			map[string][]Claim{"a": said("mls:1", "mail:x", "mail:y"), "b": said("mls:1", "mail:x"), "c": said("mail:x", "mail:y")},
			"a", event.LinkRungTwoEmails,
		},
		"several of two e-mails: the address chooses": {
			said("mail:x", "mail:y", "at:1"),
			map[string][]Claim{"a": said("mail:x", "mail:y", "at:1"), "b": said("mail:x", "mail:y"), "c": said("mail:x", "at:1")},
			"a", event.LinkRungEmailAndAddress,
		},
		"several of one number, and nothing to choose by": {
			said("mls:1", "mail:x"), map[string][]Claim{"a": said("mls:1", "mail:x"), "b": said("mls:1")}, none, "",
		},

		"another listing's number contradicts": {
			said("mail:x", "mail:y", "mls:1"), map[string][]Claim{"a": said("mail:x", "mail:y", "mls:2")}, none, "",
		},
		"another address contradicts, even the field": {
			said("id:1", "at:1"), map[string][]Claim{"a": said("id:1", "at:2")}, none, "",
		},
		"a contradiction leaves one of two": {
			said("mls:1", "at:1"), map[string][]Claim{"a": said("mls:1", "at:1"), "b": said("mls:1", "at:2")}, "a", event.LinkRungMLSOrEscrow,
		},
		"another escrow number contradicts": {
			said("mls:1", "escrow:1"), map[string][]Claim{"a": said("mls:1", "escrow:2")}, none, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := Climb(tt.record, Found{Deals: tt.deals})
			require.Equal(t, tt.deal != none, ok)
			require.Equal(t, tt.deal, got.Deal)
			require.Equal(t, tt.rung, got.Rung)
			if ok {
				require.Equal(t, shared(tt.record, tt.deals[tt.deal]), got.Evidence)
			}
		})
	}
}

func TestAClaimOfTooManyDealsTiesNothing(t *testing.T) {
	t.Parallel()
	deals := map[string][]Claim{"a": said("mail:x", "mail:y", "mls:1")}
	_, ok := Climb(said("mail:x", "mail:y"), Found{deals, map[string]bool{producers.ClaimEmail: true}})
	require.False(t, ok, "those who share it are not all there")
	got, ok := Climb(said("mail:x", "mail:y", "mls:1"), Found{deals, map[string]bool{producers.ClaimEmail: true}})
	require.True(t, ok)
	require.Equal(t, event.LinkRungMLSOrEscrow, got.Rung)
}

// draws a few claims of each kind, so that deals share them.
func draws(t *rapid.T, label string) []Claim {
	var words []string
	for _, kind := range []string{"id", "mls", "escrow", "mail", "at"} {
		for v := range 3 {
			if rapid.IntRange(0, 3).Draw(t, fmt.Sprintf("%s %s:%d", label, kind, v)) == 0 {
				words = append(words, fmt.Sprintf("%s:%d", kind, v))
			}
		}
	}
	return said(words...)
}

// model is the ladder as its rules are told, deal by deal and rung by rung, without sharing its code.
func model(record []Claim, deals map[string][]Claim) (string, int) {
	has := func(claims []Claim, kind string) (values []string) {
		for _, c := range claims {
			if c.Kind == kind {
				values = append(values, c.Hash)
			}
		}
		return values
	}
	common := func(a, b []Claim, kind string) (n int) {
		for _, x := range has(a, kind) {
			for _, y := range has(b, kind) {
				if x == y {
					n++
				}
			}
		}
		return n
	}
	const id, mls, escrow, mail, at = producers.ClaimDealID, producers.ClaimMLS, producers.ClaimEscrow, producers.ClaimEmail, producers.ClaimAddress
	left := maps.Clone(deals)
	for key, d := range deals {
		for _, kind := range []string{mls, escrow, at} {
			if len(has(record, kind)) > 0 && len(has(d, kind)) > 0 && common(record, d, kind) == 0 {
				delete(left, key)
			}
		}
	}
	for n, r := range []struct {
		present bool
		keep    func(d []Claim) bool
	}{
		{len(has(record, id)) > 0, func(d []Claim) bool { return common(record, d, id) > 0 }},
		{len(has(record, mls)) > 0 || len(has(record, escrow)) > 0, func(d []Claim) bool { return common(record, d, mls) > 0 || common(record, d, escrow) > 0 }},
		{len(has(record, mail)) >= 2, func(d []Claim) bool { return common(record, d, mail) >= 2 }},
		{len(has(record, mail)) >= 1 && len(has(record, at)) > 0, func(d []Claim) bool { return common(record, d, mail) >= 1 && common(record, d, at) > 0 }},
	} {
		if !r.present {
			continue
		}
		for key, d := range left {
			if !r.keep(d) {
				delete(left, key)
			}
		}
		if len(left) == 0 {
			return "", 0
		}
		if len(left) == 1 {
			for key := range left {
				return key, n + 1
			}
		}
	}
	return "", 0
}

func TestLadderAgreesWithItsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		record := draws(t, "record")
		deals := map[string][]Claim{}
		for i := range rapid.IntRange(0, 4).Draw(t, "deals") {
			deals[strconv.Itoa(i)] = draws(t, fmt.Sprint("deal", i))
		}
		want, n := model(record, deals)
		got, ok := Climb(record, Found{Deals: deals})
		require.Equal(t, want, got.Deal)
		require.Equal(t, n > 0, ok)
		if ok {
			require.Equal(t, rungs[n-1].name, got.Rung)
		}
	})
}

// TestADealThatSharesNothingChangesNothing lets the look-up leave such deals out.
func TestADealThatSharesNothingChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		record := draws(t, "record")
		deals, sharing := map[string][]Claim{}, map[string][]Claim{}
		for i := range rapid.IntRange(0, 4).Draw(t, "deals") {
			key := strconv.Itoa(i)
			deals[key] = draws(t, "deal"+key)
			if len(shared(record, deals[key])) > 0 {
				sharing[key] = deals[key]
			}
		}
		a, ok := Climb(record, Found{Deals: deals})
		b, too := Climb(record, Found{Deals: sharing})
		require.Equal(t, ok, too)
		require.Equal(t, a, b)
	})
}

func TestFieldsMeanWhatTheAccountSays(t *testing.T) {
	t.Parallel()
	key := []byte("key")
	same := func(a, b producers.Claim, settings string) {
		t.Helper()
		require.Equal(t, Claims(key, []producers.Claim{a}, nil), Claims(key, []producers.Claim{b}, []byte(settings)))
	}
	field := func(name, value string) producers.Claim {
		return producers.Claim{Kind: producers.ClaimField + name, Value: value}
	}
	same(producers.Claim{Kind: producers.ClaimDealID, Value: "5342bb92"}, field("deal id", " 5342BB92 "), "")
	same(producers.Claim{Kind: producers.ClaimDealID, Value: "5342bb92"}, field("file no", "5342bb92"), `{"deal_field": " File No "}`)
	same(producers.Claim{Kind: producers.ClaimMLS, Value: "mls204417"}, field("mls number", "MLS-204417"), `{"deal_field": "x"}`)
	same(producers.Claim{Kind: producers.ClaimEscrow, Value: "esc88121"}, field("escrow number", "ESC 88121"), "")
	same(producers.Claim{Kind: producers.ClaimAddress, Value: producers.AddressClaim("1420 N Larkspur Ln", "3B", "60601")},
		field("property address", "1420 North Larkspur Lane, 3B, 60601"), "")
	require.Empty(t, Claims(key, []producers.Claim{field("favourite colour", "blue"), field("deal id", "  ")}, nil))
	require.Empty(t, Claims(key, []producers.Claim{field("deal id", "1")}, []byte(`{"deal_field": "file no"}`)))
}

func TestClaimsAreHashesOfTheirTenant(t *testing.T) {
	t.Parallel()
	all := []producers.Claim{{Kind: producers.ClaimEmail, Value: "Mira@example.com"}, {Kind: producers.ClaimEmail, Value: "mira@example.com"}}
	a, b := Claims([]byte("a"), all, nil), Claims([]byte("b"), all, nil)
	require.Len(t, a, 1)
	require.NotEqual(t, a, b)
	require.NotContains(t, a[0].Hash, "mira")
	many := make([]producers.Claim, 500)
	for i := range many {
		many[i] = producers.Claim{Kind: producers.ClaimEmail, Value: fmt.Sprintf("%d@example.com", i)}
	}
	many = append(many, producers.Claim{Kind: producers.ClaimMLS, Value: "1"})
	kept := Claims([]byte("a"), many, nil)
	require.Len(t, kept, claimsMax+1, "a number is not lost among many people")
}
