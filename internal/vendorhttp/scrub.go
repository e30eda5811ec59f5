package vendorhttp

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"conveyance/internal/tenant"
)

const (
	// excerptBytesMax of a vendor's answer may stand in an error: enough for its message.
	excerptBytesMax = 200
	// scrubBytesMax of it are looked at.
	scrubBytesMax = 4 << 10
	// echoBytesMin is the shortest sent value that is masked; shorter ones are words and numbers
	// that say nothing of a person.
	echoBytesMin = 3
	bearer       = "Bearer "
)

var (
	eMail  = regexp.MustCompile(`[^\s"'<>:=,;]+@[^\s"'<>,;]+`)
	number = regexp.MustCompile(`\+?\(?\d[\d\s().-]{5,}\d`)
	secret = regexp.MustCompile(`[A-Za-z0-9+/_=-]{24,}`)
)

// scrub returns the beginning of a text for an error: without the account's credentials, what the
// request said (vendors echo it), e-mail addresses, phone numbers and what looks like a token.
func scrub(text string, r Request, a tenant.Account) string {
	text = strings.ToValidUTF8(text[:min(len(text), scrubBytesMax)], "")
	for _, s := range said(r, a) {
		text = strings.ReplaceAll(text, s, "[sent]")
	}
	text = eMail.ReplaceAllString(text, "[e-mail]")
	text = secret.ReplaceAllString(text, "[token]")
	text = number.ReplaceAllString(text, "[number]")
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool {
		return unicode.IsSpace(c) || !unicode.IsPrint(c)
	}), " ")
	if len(text) <= excerptBytesMax {
		return text
	}
	cut := excerptBytesMax
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// said is every value that the call carried: credentials, header and query values, the strings of
// a JSON body.
func said(r Request, a tenant.Account) []string {
	var out []string
	add := func(s string) {
		if len(s) >= echoBytesMin {
			out = append(out, s)
		}
	}
	for _, v := range a.Credential.Fields {
		add(v)
	}
	add(a.Credential.AccessToken)
	add(a.Credential.RefreshToken)
	for name, values := range r.Header {
		if name != "Content-Type" && name != "Accept" {
			for _, v := range values {
				add(v)
				add(strings.TrimPrefix(v, bearer))
			}
		}
	}
	for _, values := range r.Query {
		for _, v := range values {
			add(v)
		}
	}
	var body any
	if json.Unmarshal(r.Body, &body) == nil {
		leaves(body, add)
	}
	return out
}

func leaves(v any, add func(string)) {
	switch v := v.(type) {
	case string:
		add(v)
	case []any:
		for _, e := range v {
			leaves(e, add)
		}
	case map[string]any:
		for _, e := range v {
			leaves(e, add)
		}
	}
}
