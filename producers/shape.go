package producers

import (
	"encoding/json"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// shape is a schema compiled to what records are held against on the hot path: the validator needs
// ten times as long as reading the record. It walks types, required, properties, items, minLength,
// format and $ref; a schema with any other keyword is left to the validator, as is every record that
// does not fit, for its error. A nil shape fits anything.
type shape struct {
	types    []string // empty = any
	required []string
	fields   map[string]*shape
	items    *shape
	least    int // characters of a text
	format   func(any) error
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
	if s.Types != nil {
		out.types = s.Types.ToStrings()
	}
	if s.Ref != nil || other(s) || slices.Contains(out.types, "integer") {
		out.whole = s
		return out
	}
	if s.MinLength != nil {
		out.least = *s.MinLength
	}
	if s.Format != nil {
		out.format = s.Format.Validate
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

// fits says whether v is as the shape says, and adds the fields that it does not name to drift.
func (s *shape) fits(v any, path string, drift *[]Drift) bool {
	if s == nil {
		return true
	}
	if s.whole != nil {
		return s.whole.Validate(v) == nil
	}
	if !s.isType(v) || (s.format != nil && s.format(v) != nil) {
		return false
	}
	switch v := v.(type) {
	case string:
		return s.least == 0 || utf8.RuneCountInString(v) >= s.least
	case map[string]any:
		return s.fitsObject(v, path, drift)
	case []any:
		for _, item := range v {
			if !s.items.fits(item, path, drift) {
				return false
			}
		}
	}
	return true
}

func (s *shape) fitsObject(v map[string]any, path string, drift *[]Drift) bool {
	for _, name := range s.required {
		if _, ok := v[name]; !ok {
			return false
		}
	}
	for name, inner := range v {
		field, known := s.fields[name]
		switch {
		case !known && len(s.fields) > 0:
			*drift = append(*drift, Drift{Path: cut(path + "/" + name), Kind: DriftUnknownField})
		case field == nil:
		case len(field.fields) == 0 && field.items == nil:
			if !field.fits(inner, "", drift) {
				return false
			}
		default:
			if !field.fits(inner, path+"/"+name, drift) {
				return false
			}
		}
	}
	return true
}

func (s *shape) isType(v any) bool {
	if len(s.types) == 0 {
		return true
	}
	var name string
	switch v.(type) {
	case nil:
		name = "null"
	case bool:
		name = "boolean"
	case json.Number:
		name = "number"
	case string:
		name = "string"
	case []any:
		name = "array"
	case map[string]any:
		name = "object"
	}
	return slices.Contains(s.types, name)
}
