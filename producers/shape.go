package producers

import (
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"conveyance/internal/vendorjson"
)

// shape is a schema compiled to what records are held against on the hot path: the validator needs
// ten times as long as reading the record. It walks types, required, properties, items, minLength,
// format and $ref; a schema with any other keyword is left to the validator, as is every record that
// does not fit, for its error. A nil shape fits anything.
type shape struct {
	types    kinds // none = any
	required []string
	fields   map[string]*shape
	items    *shape
	least    int // characters of a text
	format   func(string) error
	whole    *jsonschema.Schema // judged by the validator
}

// walked are the keywords that a shape stands for, and those that say nothing about values.
func walked(field string) bool {
	switch field {
	case "DraftVersion", "Location", "ID", "Anchor", "Title", "Description", "Comment", "Examples", "Deprecated",
		"Ref", "Types", "Required", "Properties", "Items2020", "MinLength", "Format":
		return true
	}
	return false
}

// compile makes a shape. seen holds those begun, so that a schema may refer to itself.
func compile(s *jsonschema.Schema, seen map[*jsonschema.Schema]*shape) *shape {
	if s == nil || (s.Bool != nil && *s.Bool) {
		return nil
	}
	if s.Ref != nil && len(s.Properties) == 0 && s.Types == nil {
		return compile(s.Ref, seen)
	}
	if have, ok := seen[s]; ok {
		return have
	}
	out := &shape{required: s.Required, fields: map[string]*shape{}}
	seen[s] = out
	known := true
	if s.Types != nil {
		out.types, known = kindsOf(s.Types.ToStrings())
	}
	if s.Format != nil {
		if out.format = formats()[s.Format.Name]; out.format == nil {
			known = false
		}
	}
	if s.Ref != nil || other(s) || !known {
		out.whole = s
		return out
	}
	if s.MinLength != nil {
		out.least = *s.MinLength
	}
	for name, inner := range s.Properties {
		out.fields[name] = compile(inner, seen)
	}
	out.items = compile(s.Items2020, seen)
	return out
}

// other says whether a schema has a keyword that a shape does not stand for.
func other(s *jsonschema.Schema) bool {
	v := reflect.ValueOf(*s)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !walked(f.Name) && !v.Field(i).IsZero() {
			return true
		}
	}
	return false
}

// kinds are types of values, a bit each.
type kinds uint8

// kindsOf is false where a type is one that values do not show, such as integer.
func kindsOf(names []string) (k kinds, known bool) {
	for _, name := range names {
		i := slices.Index([]string{"null", "boolean", "number", "string", "array", "object"}, name)
		if i < 0 {
			return 0, false
		}
		k |= 1 << i
	}
	return k, true
}

func (k kinds) has(one vendorjson.Kind) bool { return k == 0 || k&(1<<one) != 0 }

// fits says whether v is as the shape says, and adds the fields that it does not name to drift.
func (s *shape) fits(v vendorjson.Value, path string, drift *[]Drift) bool {
	if s == nil {
		return true
	}
	if s.whole != nil {
		return s.whole.Validate(v.Any()) == nil
	}
	kind := v.Kind()
	if !s.types.has(kind) {
		return false
	}
	switch kind {
	case vendorjson.String, vendorjson.Number:
		text := v.Text()
		if s.least > 0 && kind == vendorjson.String && utf8.RuneCountInString(text) < s.least {
			return false
		}
		return s.format == nil || s.format(strings.TrimSpace(text)) == nil
	case vendorjson.Object:
		return s.fitsObject(v, path, drift)
	case vendorjson.Array:
		for _, item := range v.Members() {
			if !s.items.fits(item, path, drift) {
				return false
			}
		}
	default:
	}
	return true
}

func (s *shape) fitsObject(v vendorjson.Value, path string, drift *[]Drift) bool {
	missing := len(s.required)
	for name, inner := range v.Members() {
		field, known := s.fields[name]
		if !known && len(s.fields) > 0 {
			*drift = append(*drift, Drift{Path: cut(path + "/" + name), Kind: DriftUnknownField})
		}
		if missing > 0 && slices.Contains(s.required, name) {
			missing--
		}
		if field == nil {
			continue
		}
		below := ""
		if len(field.fields) > 0 || field.items != nil {
			below = path + "/" + name
		}
		if !field.fits(inner, below, drift) {
			return false
		}
	}
	return missing <= 0
}
