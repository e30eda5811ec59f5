package fault

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// converters give a value the type of their name.
var converters = map[string]func(any) any{
	"string": func(v any) any {
		if s, ok := v.(string); ok {
			return s
		}
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(text)
	},
	"number": func(any) any { return json.Number("42") },
	"null":   func(any) any { return nil },
	"array":  func(v any) any { return []any{v} },
	"object": func(v any) any { return map[string]any{"value": v} },
}

// Spoil changes an answer's JSON as a Rename or Retype says, at every depth. What is no JSON stays.
func (e Effect) Spoil(body []byte) []byte {
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if (e.Kind != Rename && e.Kind != Retype) || d.Decode(&v) != nil {
		return body
	}
	out, err := json.Marshal(e.walk(v))
	if err != nil {
		return body
	}
	return out
}

func (e Effect) walk(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = e.walk(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, inner := range v {
			inner = e.walk(inner)
			switch {
			case k == e.From && e.Kind == Rename:
				k = e.To
			case k == e.From:
				inner = converters[e.To](inner)
			}
			out[k] = inner
		}
		return out
	}
	return v
}
