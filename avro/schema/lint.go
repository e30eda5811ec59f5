package schema

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"conveyance/avro/schema/internal/avsc"
)

// Problem is a rule of the contract that a schema breaks.
type Problem struct {
	Field string `json:"field"` // path from the record, array items as []; empty for the schema itself
	Rule  string `json:"rule"`
}

func (p Problem) String() string {
	if p.Field == "" {
		return p.Rule
	}
	return p.Field + ": " + p.Rule
}

// Lint holds a self-contained schema text against the rules of the contract, and returns what it
// breaks, in the order of the text. The rules keep a schema inside what every reader can evolve and
// what wire's walker can check:
//
//   - one record of the contract's namespace; no record contains itself
//   - doc on every record, enum and field; no property but Avro's and pii
//   - types: record, enum, array, boolean, int, long, string, bytes; no map, fixed, float, double
//   - logical types: timestamp-millis on long, date on int, uuid on string; no decimal
//   - unions: ["null", T] alone, with default null from birth; never a nullable array or bytes
//   - arrays of records, enums, strings or numbers that take at least a byte
//   - enums have a default among their symbols, and so has a field that holds one
//   - pii, of a known kind, stands on the string or bytes field, or the array of strings, itself
func Lint(text string) []Problem {
	t, err := avsc.Parse([]byte(text))
	if err != nil {
		return []Problem{{Rule: fmt.Sprintf("is not a schema: %v", err)}}
	}
	l := linter{known: map[string]*avsc.Object{}, open: map[string]bool{}}
	if t.Obj == nil || t.Obj.Kind() != "record" || t.Obj.Namespace != Namespace {
		l.add("", "is not a record of namespace "+Namespace)
		return l.problems
	}
	l.typ(t, "")
	return l.problems
}

var (
	// Names are checked since they become Go names, SQL columns and JSON keys.
	typeName   = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	fieldName  = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	symbolName = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`)
)

type linter struct {
	known    map[string]*avsc.Object
	open     map[string]bool
	problems []Problem
}

func (l *linter) add(field, rule string, args ...any) {
	l.problems = append(l.problems, Problem{Field: field, Rule: fmt.Sprintf(rule, args...)})
}

// typ checks a type where it is used, and returns its kind with names resolved.
func (l *linter) typ(t avsc.Type, path string) string {
	switch {
	case t.Union != nil:
		return l.union(t.Union, path)
	case t.Obj != nil:
		return l.object(t.Obj, path)
	case slices.Contains([]string{"boolean", "int", "long", "string", "bytes", "null"}, t.Name):
		return t.Name
	case l.known[t.Name] != nil:
		if l.open[t.Name] {
			l.add(path, "%s contains itself", t.Name)
		}
		return l.known[t.Name].Kind()
	default:
		l.add(path, "%s is not part of the contract, or not defined before", t.Name)
		return t.Name
	}
}

func (l *linter) union(branches []avsc.Type, path string) string {
	if len(branches) != 2 || branches[0].Name != "null" {
		l.add(path, `a union is ["null", T] and nothing else`)
		return "union"
	}
	if kind := l.typ(branches[1], path); slices.Contains([]string{"null", "union", "array", "bytes"}, kind) {
		l.add(path, "a nullable %s has no use that an empty one has not", kind)
	}
	return "union"
}

func (l *linter) object(o *avsc.Object, path string) string {
	switch kind := o.Kind(); kind {
	case "record":
		l.define(o, path)
		l.record(o, path)
	case "enum":
		l.define(o, path)
		l.enum(o, path)
	case "array":
		l.array(o, path)
	case "int", "long", "string":
		if o.LogicalType != map[string]string{"int": "date", "long": "timestamp-millis", "string": "uuid"}[kind] {
			l.add(path, "logical type %q on %s is not part of the contract", o.LogicalType, kind)
		}
	default:
		l.add(path, "%s is not part of the contract", kind)
	}
	return o.Kind()
}

func (l *linter) define(o *avsc.Object, path string) {
	if !typeName.MatchString(o.Name) {
		l.add(path, "type name %q is not CamelCase", o.Name)
	}
	if o.Doc == "" {
		l.add(path, "%s has no doc", o.Name)
	}
	if l.known[o.Name] != nil {
		l.add(path, "%s is defined twice", o.Name)
	}
	l.known[o.Name] = o
}

func (l *linter) record(o *avsc.Object, path string) {
	if len(o.Fields) == 0 {
		l.add(path, "%s has no fields", o.Name)
	}
	l.open[o.Name] = true
	defer delete(l.open, o.Name)
	for _, f := range o.Fields {
		at := f.Name
		if path != "" {
			at = path + "." + f.Name
		}
		l.field(f, at)
	}
}

func (l *linter) field(f avsc.Field, path string) {
	if !fieldName.MatchString(f.Name) {
		l.add(path, "field name is not snake_case")
	}
	if f.Doc == "" {
		l.add(path, "has no doc")
	}
	kind := l.typ(f.Type, path)
	switch {
	case kind == "union" && string(f.Default) != "null":
		l.add(path, "is nullable and has no default null")
	case kind == "enum" && !slices.Contains(l.enumOf(f.Type).Symbols, text(f.Default)):
		l.add(path, "holds an enum and has no default among its symbols")
	}
	if f.PII != "" {
		l.pii(f, path)
	}
}

func (l *linter) pii(f avsc.Field, path string) {
	if !slices.Contains(PII(), f.PII) {
		l.add(path, "pii %q is none of %v", f.PII, PII())
	}
	leaf := f.Type
	if leaf.Union != nil {
		leaf = leaf.Union[len(leaf.Union)-1]
	}
	if leaf.Obj != nil && leaf.Obj.Items != nil {
		leaf = *leaf.Obj.Items
	}
	if want := map[bool]string{true: "bytes", false: "string"}[f.PII == PIIRaw]; leaf.Name != want {
		l.add(path, "pii %s stands on something that is not a %s", f.PII, want)
	}
}

func (l *linter) enum(o *avsc.Object, path string) {
	for _, s := range o.Symbols {
		if !symbolName.MatchString(s) {
			l.add(path, "symbol %s is not UPPER_SNAKE", s)
		}
	}
	if !slices.Contains(o.Symbols, text(o.Default)) {
		l.add(path, "enum %s has no default among its symbols", o.Name)
	}
}

func (l *linter) enumOf(t avsc.Type) *avsc.Object {
	if t.Obj != nil {
		return t.Obj
	}
	return l.known[t.Name]
}

func (l *linter) array(o *avsc.Object, path string) {
	if o.Items == nil {
		l.add(path, "array has no items")
		return
	}
	switch kind := l.typ(*o.Items, path+"[]"); kind {
	case "null", "union", "array", "bytes":
		l.add(path, "an array of %s is not part of the contract", kind)
	}
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
