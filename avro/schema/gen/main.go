// Command gen makes two things from avro/schema/*.avsc: the self-contained texts in
// schema/registered that are embedded and registered, and the Go structs of avro/event.
//
// The sources share records by name (Deal, Contact, Origin); a registered text has each shared
// record written out where it is first used, so that a reader of any language needs one schema.
// The events are the records that no other record uses. Run it with go generate ./avro/event.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const namespace = "conveyance.event"

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: gen <schema folder> <go file>")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(folder, goFile string) error {
	set, err := load(folder)
	if err != nil {
		return err
	}
	for _, name := range set.events() {
		text, err := set.inline(name)
		if err != nil {
			return fmt.Errorf("inlining %s: %w", name, err)
		}
		file := filepath.Join(folder, "registered", snake(name)+".avsc")
		if err := os.WriteFile(file, text, 0o644); err != nil { //nolint:gosec // G306: schemas are public
			return err
		}
	}
	src, err := format.Source(set.structs())
	if err != nil {
		return fmt.Errorf("formatting the structs: %w", err)
	}
	return os.WriteFile(goFile, src, 0o644) //nolint:gosec // G306: generated source is public
}

// typ is an Avro type as the sources write it: a name, an object, or a union.
type typ struct {
	Name    string // primitive or reference
	Union   []typ
	Obj     *object
	hasName bool
}

type object struct {
	Type        json.RawMessage `json:"type"`
	Name        string          `json:"name,omitempty"`
	Namespace   string          `json:"namespace,omitempty"`
	LogicalType string          `json:"logicalType,omitempty"`
	Doc         string          `json:"doc,omitempty"`
	PII         string          `json:"pii,omitempty"`
	Fields      []field         `json:"fields,omitempty"`
	Items       *typ            `json:"items,omitempty"`
	Symbols     []string        `json:"symbols,omitempty"`
	Default     json.RawMessage `json:"default,omitempty"`
}

type field struct {
	Name    string          `json:"name"`
	Type    typ             `json:"type"`
	Default json.RawMessage `json:"default,omitempty"`
	Doc     string          `json:"doc,omitempty"`
	PII     string          `json:"pii,omitempty"`
}

func (t *typ) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		t.hasName = true
		return json.Unmarshal(b, &t.Name)
	case '[':
		return json.Unmarshal(b, &t.Union)
	default:
		t.Obj = new(object)
		return json.Unmarshal(b, t.Obj)
	}
}

func (t typ) MarshalJSON() ([]byte, error) {
	switch {
	case t.hasName:
		return json.Marshal(t.Name)
	case t.Union != nil:
		return json.Marshal(t.Union)
	default:
		return json.Marshal(t.Obj)
	}
}

func (o *object) kind() string { return strings.Trim(string(o.Type), `"`) }

// set is every named type of the folder, those defined inside a field included.
type set struct {
	named map[string]*object
	used  map[string]bool // named types that some field refers to
}

func load(folder string) (*set, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.avsc"))
	if err != nil {
		return nil, err
	}
	s := &set{named: map[string]*object{}, used: map[string]bool{}}
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // G304: the folder is named on the command line
		if err != nil {
			return nil, err
		}
		var o object
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&o); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if snake(o.Name)+".avsc" != filepath.Base(file) {
			return nil, fmt.Errorf("%s defines %s: name the file %s.avsc", file, o.Name, snake(o.Name))
		}
		s.add(typ{Obj: &o})
	}
	return s, nil
}

func (s *set) add(t typ) {
	for _, u := range t.Union {
		s.add(u)
	}
	if t.hasName {
		s.used[t.Name] = true
	}
	if t.Obj == nil {
		return
	}
	if t.Obj.Name != "" {
		s.named[t.Obj.Name] = t.Obj
		if t.Obj.Namespace == "" { // defined inside a field: used there
			s.used[t.Obj.Name] = true
		}
	}
	if t.Obj.Items != nil {
		s.add(*t.Obj.Items)
	}
	for _, f := range t.Obj.Fields {
		s.add(f.Type)
	}
}

func (s *set) names() []string { return slices.Sorted(maps.Keys(s.named)) }

func (s *set) events() []string {
	return slices.DeleteFunc(s.names(), func(n string) bool { return s.used[n] })
}

// inline writes a record with every name that it refers to defined at its first use.
func (s *set) inline(name string) ([]byte, error) {
	seen := map[string]bool{}
	t, err := s.expand(typ{Name: name, hasName: true}, seen)
	if err != nil {
		return nil, err
	}
	t.Obj.Namespace = namespace
	text, err := json.MarshalIndent(t, "", "  ")
	return append(text, '\n'), err
}

func (s *set) expand(t typ, seen map[string]bool) (typ, error) {
	if t.hasName {
		o, ok := s.named[t.Name]
		switch {
		case !ok && !primitive(t.Name):
			return t, fmt.Errorf("no schema defines %s", t.Name)
		case !ok || seen[t.Name]:
			return t, nil
		}
		t = typ{Obj: o}
	}
	for i, u := range t.Union {
		e, err := s.expand(u, seen)
		if err != nil {
			return t, err
		}
		t.Union = append(slices.Clone(t.Union[:i]), append([]typ{e}, t.Union[i+1:]...)...)
	}
	if t.Obj == nil {
		return t, nil
	}
	o := *t.Obj
	if o.Name != "" {
		if seen[o.Name] {
			return typ{Name: o.Name, hasName: true}, nil
		}
		seen[o.Name], o.Namespace = true, ""
	}
	o.Fields = slices.Clone(o.Fields)
	for i := range o.Fields {
		e, err := s.expand(o.Fields[i].Type, seen)
		if err != nil {
			return t, fmt.Errorf("%s.%s: %w", o.Name, o.Fields[i].Name, err)
		}
		o.Fields[i].Type = e
	}
	if o.Items != nil {
		e, err := s.expand(*o.Items, seen)
		if err != nil {
			return t, err
		}
		o.Items = &e
	}
	return typ{Obj: &o}, nil
}

func primitive(n string) bool {
	return slices.Contains([]string{"null", "boolean", "int", "long", "string", "bytes"}, n)
}
