package vendorjson

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// escaped reads the rest of a string that began at start and holds an escape or a control character.
func (p *parser) escaped(start int, out *string) error {
	var b strings.Builder
	b.WriteString(p.s[start:p.pos])
	for p.pos < len(p.s) {
		c := p.s[p.pos]
		p.pos++
		switch {
		case c == '"':
			*out = valid(b.String())
			return nil
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return err
			}
			if r < ' ' {
				control(&b, byte(r)) //nolint:gosec // G115: below 32
			} else {
				b.WriteRune(r)
			}
		case c < ' ':
			control(&b, c)
		default:
			b.WriteByte(c)
		}
	}
	return errEnd
}

// control writes what is kept of a control character.
func control(b *strings.Builder, c byte) {
	if isBlank(c) {
		b.WriteByte(' ')
	}
}

func isBlank(c byte) bool { return c == '\t' || c == '\n' }

// escape reads what follows a backslash.
func (p *parser) escape() (rune, error) {
	if p.pos == len(p.s) {
		return 0, errEnd
	}
	c := p.s[p.pos]
	p.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'n', 't':
		return '\n', nil
	case 'b', 'f', 'r':
		return '\b', nil
	case 'u':
		return p.unicode()
	}
	return 0, errToken
}

// unicode reads the four digits of an escape, and the second one of a surrogate pair.
func (p *parser) unicode() (rune, error) {
	r, ok := p.hex(p.pos)
	if !ok {
		return 0, errToken
	}
	p.pos += 4
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if strings.HasPrefix(p.s[p.pos:], `\u`) {
		if low, ok := p.hex(p.pos + 2); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				p.pos += 6
				return pair, nil
			}
		}
	}
	return utf8.RuneError, nil
}

func (p *parser) hex(at int) (rune, bool) {
	if at+4 > len(p.s) {
		return 0, false
	}
	n, err := strconv.ParseUint(p.s[at:at+4], 16, 16)
	return rune(n), err == nil
}

// Clean returns b as JSON that strict parsers take: without the byte order mark and stray control
// characters. It returns b itself where nothing is to be done, and never makes b longer.
func Clean(b []byte) []byte {
	b = bytes.TrimPrefix(b, []byte(bom))
	if !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' }) {
		return b
	}
	out := make([]byte, 0, len(b))
	inString := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			inString = !inString
			out = append(out, c)
		case c == '\\' && inString && i+1 < len(b) && b[i+1] >= ' ':
			out = append(out, c, b[i+1])
			i++
		case isBlank(c):
			out = append(out, ' ')
		case c >= ' ':
			out = append(out, c)
		}
	}
	return out
}
