package vendorjson_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"conveyance/internal/vendorjson"
)

func TestQuirksOfVendorsAreRead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in   string
		want any
	}{
		"byte order mark":         {"\xef\xbb\xbf{}", map[string]any{}},
		"raw control characters":  {"\"a\x00b\x01c\x1a\"", "abc"},
		"raw line break":          {"\"12 Main\r\nUnit 3\"", "12 Main Unit 3"},
		"escaped control":         {`"a\u0000b\u0001\n"`, "ab "},
		"control between tokens":  {"{\x00\"a\"\x01:\n1}", map[string]any{"a": json.Number("1")}},
		"no UTF-8":                {"\"Jos\xe9\"", "Jos\uFFFD"},
		"lone surrogate":          {`"\ud83d!"`, "\uFFFD!"},
		"surrogate pair":          {`"\ud83c\udfe0"`, "🏠"},
		"exact number":            {`12345678901234567.10`, json.Number("12345678901234567.10")},
		"the last of equal keys":  {`{"a":1,"a":2}`, map[string]any{"a": json.Number("2")}},
		"empty and nested":        {`[[],{},[null,true,false]]`, []any{[]any{}, map[string]any{}, []any{nil, true, false}}},
		"escapes":                 {`"\"\\\/\t"`, `"\/ `},
		"object within an object": {`{"a":{"b":1,"c":[2]},"d":3}`, map[string]any{"a": map[string]any{"b": json.Number("1"), "c": []any{json.Number("2")}}, "d": json.Number("3")}},
	} {
		got, err := vendorjson.Parse([]byte(tt.in))
		require.NoError(t, err, name)
		require.Equal(t, tt.want, got.Any(), name)
	}
}

func TestEveryByteOfATextIsLookedAtWhereverItStands(t *testing.T) {
	t.Parallel()
	for special, want := range map[string]string{`\"`: `"`, `\\`: `\`, "\x01": "", "é": "é", "\xff": "\uFFFD", " ": " ", "~": "~", "!": "!", "[": "[", "]": "]", "#": "#"} {
		for before := range 20 {
			a, b := strings.Repeat("a", before), strings.Repeat("~ ", 10)
			v, err := vendorjson.Parse([]byte(`{"k":"` + a + special + b + `"}`))
			require.NoError(t, err)
			require.Equal(t, a+want+b, v.Get("k").Text())
		}
	}
}

func TestBrokenJSONIsAnErrorWithoutItsData(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 1<<20)
	for _, in := range []string{
		"", " ", "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{a:1}`, "[1", "[1,]", `"abc`, `"\x"`, `"\u12"`, "01", "1.", "-", "1e", "tru", "nil",
		"{} {}", "secret", deep,
	} {
		_, err := vendorjson.Parse([]byte(in))
		require.ErrorContains(t, err, "reading JSON at byte", in[:min(len(in), 20)])
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestGetFindsTheLastOfAKeyAndNullElse(t *testing.T) {
	t.Parallel()
	v, err := vendorjson.Parse([]byte(`{"a":1,"b":[2],"a":"x"}`))
	require.NoError(t, err)
	require.Equal(t, "x", v.Get("a").Text())
	require.Equal(t, vendorjson.Null, v.Get("c").Kind())
	require.Empty(t, v.Get("c").Get("d").Text())
	require.Equal(t, vendorjson.Null, v.Get("b").Get("0").Kind(), "an array has no keys")
}

func TestCanonicalFormDoesNotDependOnOrderOrSpace(t *testing.T) {
	t.Parallel()
	a, err := vendorjson.Parse([]byte("\xef\xbb\xbf{ \"b\": [1, 2.50],\n\"a\": \"x\x01\\\"y\\\\\" }"))
	require.NoError(t, err)
	b, err := vendorjson.Parse([]byte(`{"a":"x\"y\\","b":[1,2.50]}`))
	require.NoError(t, err)
	require.Equal(t, string(vendorjson.Canonical(nil, b)), string(vendorjson.Canonical(nil, a)))
	require.Equal(t, `{"a":"x\"y\\","b":[1,2.50]}`, string(vendorjson.Canonical(nil, a))) //nolint:testifylint // bytes matter
}

// FuzzParse holds the reader against encoding/json: what that takes, this takes with the same
// meaning but for control characters; and cleaned bytes mean the same to both.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,2.5e3,-0],"b":"\u00e9\ud83c\udfe0\n","c":null,"d":{"e":true}}`, "\xef\xbb\xbf[1]", "\"a\x01\n\"", `"\ud800\ud800"`, `{"a":1,"a":{}}`,
		"\"\xff\"", "{\"\x00\":0}", `"\`, "\"\\\n\"", "\xef\xbb\xbf\xef\xbb\xbf1", "-1.50E-7", "[[[[]]]]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.Count(in, []byte("["))+bytes.Count(in, []byte("{")) > 100 {
			t.Skip("encoding/json takes what is nested deeper")
		}
		got, err := vendorjson.Parse(in)
		if want, ok := strict(bytes.TrimPrefix(in, []byte("\xef\xbb\xbf"))); ok {
			require.NoError(t, err)
			if want, ok := without(want); ok {
				require.Equal(t, want, got.Any())
			}
		}
		if err != nil {
			return
		}
		if scrap, err := vendorjson.Parse(in); err == nil {
			scrap.Free() // what is given back must not be seen in what is read next
		}
		canonical := vendorjson.Canonical(nil, got)
		require.True(t, utf8.Valid(canonical))
		again, err := vendorjson.Parse(canonical)
		require.NoError(t, err)
		require.Equal(t, got.Any(), again.Any())
		back, ok := strict(canonical)
		require.True(t, ok, "canonical form is JSON")
		require.Equal(t, got.Any(), back)
	})
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"{\"a\x00\":\"b\n\\\"\"}", "\xef\xbb\xbf[1]", "\"a\\\x01\"", "\x00", `"\\"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		clean := vendorjson.Clean(bytes.Clone(in))
		require.LessOrEqual(t, len(clean), len(in))
		require.Equal(t, clean, vendorjson.Clean(clean), "cleaning twice is cleaning once")
		want, err := vendorjson.Parse(in)
		if err != nil {
			return
		}
		got, ok := strict(clean)
		require.True(t, ok, "cleaned bytes are JSON")
		if got, ok := without(got); ok {
			require.Equal(t, want.Any(), got)
		}
	})
}

// strict reads with encoding/json.
func strict(b []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}

// without applies to a value what Parse does to control characters, and says whether no two keys of
// an object became one: then it is open which of them was the last.
func without(v any) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		out, ok := make(map[string]any, len(v)), true
		for k, inner := range v {
			plainInner, innerOK := without(inner)
			out[plain(k)], ok = plainInner, ok && innerOK
		}
		return out, ok && len(out) == len(v)
	case []any:
		ok := true
		for i := range v {
			inner, innerOK := without(v[i])
			v[i], ok = inner, ok && innerOK
		}
		return v, ok
	case string:
		return plain(v), true
	}
	return v, true
}

func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case r < ' ':
			return -1
		}
		return r
	}, s)
}

const record = `{"objectType":"sale","saleGuid":"5342bb92-4f6d-4df2-bb03-7be81e2336c7","status":"Pending","escrowClosingDate":"2020-10-15T00:00:00",` +
	`"listingPrice":450000,"property":{"streetNumber":"12","streetAddress":"Main St","city":"Austin","state":"TX","zip":"78701"},` +
	`"sellers":[{"contactGuid":"a","firstName":"Ann","lastName":"B","email":"ann@example.com","phoneNumber":"512-555-0100"}],"titleContact":null}`

func BenchmarkParse(b *testing.B) {
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		v, err := vendorjson.Parse([]byte(record))
		if err != nil {
			b.Fatal(err)
		}
		v.Free()
	}
}

func BenchmarkParseStandard(b *testing.B) {
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		if _, ok := strict([]byte(record)); !ok {
			b.Fatal("not read")
		}
	}
}
