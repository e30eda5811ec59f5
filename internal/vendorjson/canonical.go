package vendorjson

import (
	"slices"
	"strings"
)

// Canonical appends v to dst: keys sorted, nothing between tokens, without the members of v itself
// that ignore names.
func Canonical(dst []byte, v Value, ignore ...string) []byte {
	switch v.Kind() {
	case String:
		return quote(dst, v.Text())
	case Number, Bool:
		return append(dst, v.Text()...)
	case Array:
		dst = append(dst, '[')
		for _, m := range v.Members() {
			dst = Canonical(separated(dst), m)
		}
		return append(dst, ']')
	case Object:
		dst = append(dst, '{')
		var before string
		for i, m := range sorted(v, ignore) {
			key := v.nodes[m].key
			if i > 0 && key == before {
				continue // the later one came first
			}
			dst = append(quote(separated(dst), key), ':')
			dst, before = Canonical(dst, Value{v.nodes, m}), key
		}
		return append(dst, '}')
	default:
		return append(dst, "null"...)
	}
}

// sorted are an object's members by key, the later of equal keys first.
func sorted(v Value, ignore []string) []int32 {
	var out []int32
	for key, m := range v.Members() {
		if !slices.Contains(ignore, key) {
			out = append(out, m.at)
		}
	}
	slices.SortStableFunc(out, func(a, b int32) int { return strings.Compare(v.nodes[a].key, v.nodes[b].key) })
	return out
}

// separated appends a comma, unless an array or object has just begun.
func separated(dst []byte) []byte {
	if c := dst[len(dst)-1]; c == '[' || c == '{' {
		return dst
	}
	return append(dst, ',')
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
