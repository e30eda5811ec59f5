// Package vendorjson reads JSON as vendors really send it: with a byte order mark, with control
// characters as they are inside of strings, with bytes that are no UTF-8. It keeps a number's text,
// so that no amount passes through a float, and writes a canonical form for digests. It is pure and
// never panics, whatever the bytes; the caller bounds their number. What is broken beyond these
// quirks is an error with the offset and none of the data.
package vendorjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// depthMax bounds nesting, since reading recurses: vendors' records are below ten deep.
const depthMax = 100

const bom = "\xef\xbb\xbf"

var (
	errEnd   = errors.New("the value ends early")
	errToken = errors.New("no JSON value")
	errDeep  = errors.New("nested too deep")
	errRest  = errors.New("something follows the value")
)

// Parse reads one value: map[string]any, []any, string, json.Number, bool or nil. In strings a tab
// or line feed, raw or escaped, becomes a space, other control characters are dropped, and bytes
// that are no UTF-8 become U+FFFD. Of a key that comes twice the last value counts. Strings of the
// result share memory with each other.
func Parse(b []byte) (any, error) {
	p := parser{s: strings.TrimPrefix(string(b), bom)}
	v, err := p.value(0)
	if err == nil && p.next() != end {
		err = errRest
	}
	if err != nil {
		return nil, fmt.Errorf("reading JSON at byte %d: %w", p.pos, err)
	}
	return v, nil
}

type parser struct {
	s       string
	pos     int
	members []member // of the objects that are open, innermost last
	items   []any    // of the arrays that are open
}

type member struct {
	key   string
	value any
}

const end = 0 // no token begins with it

// next skips what may stand between tokens, stray control characters included, and returns the
// first byte of the next token.
func (p *parser) next() byte {
	for p.pos < len(p.s) {
		if c := p.s[p.pos]; c > ' ' {
			return c
		}
		p.pos++
	}
	return end
}

func (p *parser) value(depth int) (any, error) {
	if depth > depthMax {
		return nil, errDeep
	}
	switch c := p.next(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.text()
	case c == 't':
		return true, p.word("true")
	case c == 'f':
		return false, p.word("false")
	case c == 'n':
		return nil, p.word("null")
	case c == '-' || isDigit(c):
		return p.number()
	case c == end:
		return nil, errEnd
	}
	return nil, errToken
}

func (p *parser) object(depth int) (any, error) {
	base := len(p.members)
	more, err := p.open('}')
	for ; more && err == nil; more, err = p.more('}') {
		if p.next() != '"' {
			return nil, errToken
		}
		var m member
		if m.key, err = p.text(); err != nil {
			return nil, err
		}
		if p.next() != ':' {
			return nil, errToken
		}
		p.pos++
		if m.value, err = p.value(depth + 1); err != nil {
			return nil, err
		}
		p.members = append(p.members, m)
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(p.members)-base)
	for _, m := range p.members[base:] {
		out[m.key] = m.value
	}
	p.members = p.members[:base]
	return out, nil
}

func (p *parser) array(depth int) (any, error) {
	base := len(p.items)
	more, err := p.open(']')
	for ; more && err == nil; more, err = p.more(']') {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		p.items = append(p.items, v)
	}
	if err != nil {
		return nil, err
	}
	out := slices.Clone(p.items[base:])
	p.items = p.items[:base]
	if out == nil {
		out = []any{}
	}
	return out, nil
}

// open steps into an object or array, and says whether it holds anything.
func (p *parser) open(closing byte) (bool, error) {
	p.pos++
	if p.next() == closing {
		p.pos++
		return false, nil
	}
	return true, nil
}

// more steps over a comma, or out of the object or array.
func (p *parser) more(closing byte) (bool, error) {
	switch p.next() {
	case ',':
		p.pos++
		return true, nil
	case closing:
		p.pos++
		return false, nil
	case end:
		return false, errEnd
	}
	return false, errToken
}

func (p *parser) word(w string) error {
	if !strings.HasPrefix(p.s[p.pos:], w) {
		return errToken
	}
	p.pos += len(w)
	return nil
}

func (p *parser) number() (any, error) {
	start := p.pos
	if p.s[p.pos] == '-' {
		p.pos++
	}
	whole := p.digits()
	if whole == 0 || (whole > 1 && p.s[p.pos-whole] == '0') {
		return nil, errToken
	}
	if p.at('.') {
		p.pos++
		if p.digits() == 0 {
			return nil, errToken
		}
	}
	if p.at('e') || p.at('E') {
		p.pos++
		if p.at('+') || p.at('-') {
			p.pos++
		}
		if p.digits() == 0 {
			return nil, errToken
		}
	}
	return json.Number(p.s[start:p.pos]), nil
}

func (p *parser) at(c byte) bool { return p.pos < len(p.s) && p.s[p.pos] == c }

func (p *parser) digits() int {
	start := p.pos
	for p.pos < len(p.s) && isDigit(p.s[p.pos]) {
		p.pos++
	}
	return p.pos - start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// text reads a string. One without escapes and quirks is a part of the input.
func (p *parser) text() (string, error) {
	p.pos++
	start, ascii := p.pos, true
	for ; p.pos < len(p.s); p.pos++ {
		switch c := p.s[p.pos]; {
		case c == '"':
			text := p.s[start:p.pos]
			p.pos++
			if !ascii && !utf8.ValidString(text) {
				text = valid(text)
			}
			return text, nil
		case c == '\\' || c < ' ':
			return p.escaped(start)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", errEnd
}

// valid puts U+FFFD in the place of each byte that is no UTF-8.
func valid(s string) string { return string([]rune(s)) }

// Canonical appends v, as Parse returns it, to dst: keys sorted, nothing between tokens.
func Canonical(dst []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		dst = append(dst, '{')
		for i, k := range keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(quote(dst, k), ':')
			dst = Canonical(dst, v[k])
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = Canonical(dst, item)
		}
		return append(dst, ']')
	case string:
		return quote(dst, v)
	case json.Number:
		return append(dst, v...)
	case bool:
		if v {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	default:
		return append(dst, "null"...)
	}
}

// quote needs to escape only what would end the string: Parse leaves no control character.
func quote(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}
