package event

import (
	"fmt"
	"unicode/utf8"
)

// PersonalField is a field that holds personal data, as its schema's pii property says.
type PersonalField struct {
	Path string // names of the schema's fields with dots; arrays are passed through
	Kind string // name, email, phone, address, text or raw
}

// Mask hides a personal value of a kind and leaves so much that two people who look at one record
// can tell that they see the same: the first letter of a name or e-mail, the last two digits of a
// phone. Of everything else nothing is left. Empty stays empty. It is not reversible, and not fit
// for comparing: for that there is Pseudonym.
func Mask(kind, value string) string {
	const stars = "***"
	switch {
	case value == "":
		return ""
	case kind == "name":
		return first(value) + stars
	case kind == "email":
		return first(value) + stars + "@" + stars
	case kind == "phone" && len(value) > 7: // a shorter one would be told by its end
		return stars + last(value)
	default:
		return stars
	}
}

func first(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

func last(s string) string {
	const digits = 2
	n := 0
	for range digits {
		_, size := utf8.DecodeLastRuneInString(s[:len(s)-n])
		n += size
	}
	return s[len(s)-n:]
}

func maskRaw(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	return fmt.Appendf(nil, "%d bytes", len(b))
}

func maskPointer[T any](p *T, mask func(T) T) *T {
	if p == nil {
		return nil
	}
	v := mask(*p)
	return &v
}

func maskSlice[T any](s []T, mask func(T) T) []T {
	if s == nil {
		return nil
	}
	out := make([]T, len(s))
	for i, v := range s {
		out[i] = mask(v)
	}
	return out
}
