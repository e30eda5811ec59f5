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
	"iter"
	"math"
	"strings"
	"sync"
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

// Kind is what a value is.
type Kind uint8

// The kinds of values. The zero Value is null.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// Value is one JSON value. The zero Value is null. Values are not changed once they are parsed.
type Value struct {
	nodes []node
	at    int32
}

// node is a value within its document: all of them lie in one slice, in the order of the text.
type node struct {
	key   string // in an object
	text  string // of a string; a number or true and false as they are written
	first int32  // member: the first of an array, the last of an object; 0 = none
	next  int32  // the next of an array, the one before of an object; 0 = none
	tag   uint32 // of key
	kind  Kind
}

// tag tells most keys of one object apart without looking at their bytes.
func tag(key string) uint32 {
	n := len(key)
	if n == 0 {
		return 0
	}
	//nolint:gosec // G115: a longer key only loses bits
	return uint32(n)<<24 | uint32(key[0])<<16 | uint32(key[n/2])<<8 | uint32(key[n-1])
}

// Kind is what the value is.
func (v Value) Kind() Kind {
	if v.nodes == nil {
		return Null
	}
	return v.nodes[v.at].kind
}

// Text is a string, or a number, true or false as it is written; empty for the others.
func (v Value) Text() string {
	if v.nodes == nil {
		return ""
	}
	return v.nodes[v.at].text
}

// Get returns an object's member, null where it has none. Of a key that comes twice the last one
// counts.
func (v Value) Get(key string) Value {
	if v.Kind() != Object {
		return Value{}
	}
	wanted := tag(key)
	for i := v.nodes[v.at].first; i != 0; i = v.nodes[i].next {
		if v.nodes[i].tag == wanted && v.nodes[i].key == key {
			return Value{v.nodes, i}
		}
	}
	return Value{}
}

// Members yields the values of an array in order, with empty keys, or of an object, the last first.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.nodes == nil {
			return
		}
		for i := v.nodes[v.at].first; i != 0; i = v.nodes[i].next {
			if !yield(v.nodes[i].key, Value{v.nodes, i}) {
				return
			}
		}
	}
}

// Any returns the value as encoding/json does with UseNumber.
func (v Value) Any() any {
	switch v.Kind() {
	case Bool:
		return v.Text() == "true"
	case Number:
		return json.Number(v.Text())
	case String:
		return v.Text()
	case Array:
		out := []any{}
		for _, m := range v.Members() {
			out = append(out, m.Any())
		}
		return out
	case Object:
		out := map[string]any{}
		for key, m := range v.Members() {
			if _, later := out[key]; !later {
				out[key] = m.Any()
			}
		}
		return out
	default:
		return nil
	}
}

// Parse reads one value. In strings a tab or line feed, raw or escaped, becomes a space, other control
// characters are dropped, and bytes that are no UTF-8 become U+FFFD.
func Parse(b []byte) (Value, error) {
	p := parser{s: strings.TrimPrefix(string(b), bom)}
	if kept, _ := arenas.Get().(*[]node); kept != nil {
		p.nodes = (*kept)[:0]
	} else {
		p.nodes = make([]node, 0, arenaFirst)
	}
	_, err := p.value(0)
	if err == nil && p.next() != end {
		err = errRest
	}
	if err != nil {
		return Value{}, fmt.Errorf("reading JSON at byte %d: %w", p.pos, err)
	}
	return Value{nodes: p.nodes}, nil
}

// Free lets the next Parse use the value's memory, on paths where every record passes. v and all that
// Get and Members gave of it must not be used any more; texts stay as they are.
func (v Value) Free() {
	if cap(v.nodes) > 0 && cap(v.nodes) <= arenaMax {
		arenas.Put(&v.nodes)
	}
}

const (
	// arenaFirst is how many values a usual record has.
	arenaFirst = 256
	// arenaMax is the largest memory that is kept, in values.
	arenaMax = 4096
)

// arenas are what Free gave back. They are not cleared: one keeps the text of its last record only.
var arenas sync.Pool

type parser struct {
	s     string
	pos   int
	nodes []node
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

// value reads a value into a node of its own, and returns which.
func (p *parser) value(depth int) (int32, error) {
	if depth > depthMax || len(p.nodes) == math.MaxInt32 {
		return 0, errDeep
	}
	c := p.next()
	at := int32(len(p.nodes)) //nolint:gosec // G115: checked above
	p.nodes = append(p.nodes, node{})
	n := &p.nodes[at]
	switch {
	case c == '"':
		n.kind = String
		return at, p.text(&n.text)
	case c == '{':
		n.kind = Object
		return at, p.members(at, '}', depth)
	case c == '[':
		n.kind = Array
		return at, p.members(at, ']', depth)
	case c == '-' || isDigit(c):
		n.kind = Number
		return at, p.number(&n.text)
	case c == 'n':
		return at, p.word("null")
	case c == 't':
		n.kind, n.text = Bool, "true"
		return at, p.word("true")
	case c == 'f':
		n.kind, n.text = Bool, "false"
		return at, p.word("false")
	case c == end:
		return 0, errEnd
	}
	return 0, errToken
}

// members reads the members of an array or object. An object's are chained backwards, so that the
// last of equal keys is found first.
func (p *parser) members(parent int32, closing byte, depth int) error {
	p.pos++
	if p.next() == closing {
		p.pos++
		return nil
	}
	last := int32(0)
	for more := true; more; {
		var key string
		if closing == '}' {
			if err := p.key(&key); err != nil {
				return err
			}
		}
		at, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		switch {
		case closing == '}':
			p.nodes[at].key, p.nodes[at].tag, p.nodes[at].next = key, tag(key), last
			p.nodes[parent].first = at
		case last == 0:
			p.nodes[parent].first = at
		default:
			p.nodes[last].next = at
		}
		last = at
		if more, err = p.more(closing); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) key(key *string) error {
	if p.next() != '"' {
		return errToken
	}
	if err := p.text(key); err != nil {
		return err
	}
	if p.next() != ':' {
		return errToken
	}
	p.pos++
	return nil
}

// more steps over a comma, or out of the array or object.
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

func (p *parser) number(out *string) error {
	start := p.pos
	if p.s[p.pos] == '-' {
		p.pos++
	}
	whole := p.digits()
	if whole == 0 || (whole > 1 && p.s[p.pos-whole] == '0') {
		return errToken
	}
	if p.at('.') {
		p.pos++
		if p.digits() == 0 {
			return errToken
		}
	}
	if p.at('e') || p.at('E') {
		p.pos++
		if p.at('+') || p.at('-') {
			p.pos++
		}
		if p.digits() == 0 {
			return errToken
		}
	}
	*out = p.s[start:p.pos]
	return nil
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
func (p *parser) text(out *string) error {
	p.pos++
	start, ascii := p.pos, true
	p.pos += plain(p.s[p.pos:])
	for ; p.pos < len(p.s); p.pos++ {
		switch c := p.s[p.pos]; {
		case c == '"':
			*out = p.s[start:p.pos]
			p.pos++
			if !ascii && !utf8.ValidString(*out) {
				*out = valid(*out)
			}
			return nil
		case c == '\\' || c < ' ':
			return p.escaped(start, out)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return errEnd
}

// plain is how many of the first bytes of s are neither a quote, a backslash, a control character nor
// outside of ASCII, counted in eights: of each byte's four tests, only the highest bit is kept.
func plain(s string) (n int) {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		if (w|(w-ones*' ')|(quote-ones)|(slash-ones))&high != 0 {
			return n // where a byte borrows from the next, too early is early enough
		}
		n += 8
	}
	return n
}

// valid puts U+FFFD in the place of each byte that is no UTF-8.
func valid(s string) string { return string([]rune(s)) }
