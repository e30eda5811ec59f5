package registry

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// parse compiles a schema with what it refers to; depth bounds a chain of references.
func (s *state) parse(sc schema) (*avro.Schema, error) {
	var cache avro.SchemaCache
	if err := s.parseReferences(&cache, sc, 0); err != nil {
		return nil, err
	}
	parsed, err := cache.Parse(sc.Text)
	if err != nil {
		return nil, invalidSchema("Invalid schema: %v", err)
	}
	return parsed, nil
}

// referencesDeepMax bounds a chain of references. A cycle cannot be registered, since a reference
// must exist before; this holds for a file that was edited.
const referencesDeepMax = 32

func (s *state) parseReferences(cache *avro.SchemaCache, sc schema, depth int) error {
	if depth > referencesDeepMax {
		return invalidSchema("Invalid schema: references are nested deeper than %d", referencesDeepMax)
	}
	for _, ref := range sc.References {
		v, err := s.find(ref.Subject, ref.Version, true)
		if err != nil {
			return invalidSchema("Invalid schema: reference %q names no schema: subject %q version %d",
				ref.Name, ref.Subject, ref.Version)
		}
		if err := s.parseReferences(cache, s.Schemas[v.ID], depth+1); err != nil {
			return err
		}
		if _, err := cache.Parse(s.Schemas[v.ID].Text); err != nil {
			return invalidSchema("Invalid schema: reference %q: %v", ref.Name, err)
		}
	}
	return nil
}

// same says whether two schemas are one: equal but for white space and the order of keys; with
// normalize, also but for how names and types are written.
func same(a, b schema, normalize bool) bool {
	if len(a.References) != len(b.References) {
		return false
	}
	for _, ref := range a.References {
		if !slices.Contains(b.References, ref) {
			return false
		}
	}
	if a.Text == b.Text {
		return true
	}
	var x, y any
	if decode(a.Text, &x) != nil || decode(b.Text, &y) != nil {
		return false
	}
	if normalize {
		x, y = normal(x, ""), normal(y, "")
	}
	return reflect.DeepEqual(x, y)
}

// decode keeps numbers as they are written: a default of 2^53+1 is not 2^53.
func decode(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return d.Decode(v)
}

// normal writes a schema's types in one way: full names without namespace, and "int" for
// {"type":"int"}. Docs, defaults and attributes of one's own stay.
func normal(node any, namespace string) any {
	switch node := node.(type) {
	case string:
		return qualify(node, namespace)
	case []any:
		branches := make([]any, len(node))
		for i, b := range node {
			branches[i] = normal(b, namespace)
		}
		return branches
	case map[string]any:
		return normalObject(node, namespace)
	default:
		return node
	}
}

func normalObject(node map[string]any, namespace string) any {
	out := make(map[string]any, len(node))
	for k, v := range node {
		out[k] = v
	}
	if name, ok := node["name"].(string); ok {
		if ns, ok := node["namespace"].(string); ok {
			namespace = ns
		}
		full := qualify(name, namespace)
		namespace = full[:max(strings.LastIndexByte(full, '.'), 0)]
		out["name"] = full
		delete(out, "namespace")
	}
	for _, child := range []string{"type", "items", "values"} {
		if v, ok := node[child]; ok {
			out[child] = normal(v, namespace)
		}
	}
	if fields, ok := node["fields"].([]any); ok {
		list := make([]any, len(fields))
		for i, f := range fields {
			list[i] = normalField(f, namespace)
		}
		out["fields"] = list
	}
	if len(out) == 1 && out["type"] != nil {
		return out["type"]
	}
	return out
}

// normalField leaves a field's name alone: it is no type's.
func normalField(field any, namespace string) any {
	f, ok := field.(map[string]any)
	if !ok {
		return field
	}
	out := make(map[string]any, len(f))
	for k, v := range f {
		out[k] = v
	}
	out["type"] = normal(f["type"], namespace)
	return out
}

func qualify(name, namespace string) string {
	switch name {
	case "null", "boolean", "int", "long", "float", "double", "bytes", "string",
		"record", "enum", "array", "map", "fixed", "error":
		return name
	}
	if namespace == "" || strings.Contains(name, ".") {
		return name
	}
	return fmt.Sprintf("%s.%s", namespace, name)
}
