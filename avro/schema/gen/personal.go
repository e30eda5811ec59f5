package main

import (
	"bytes"
	"fmt"

	"conveyance/avro/schema"
	"conveyance/avro/schema/internal/avsc"
)

// masks writes a masked method for each record that holds personal data, itself or within, and
// Masked, which picks the event's.
func (s *set) masks(b *bytes.Buffer) {
	for _, name := range s.names() {
		if !s.holdsPersonal(name) {
			continue
		}
		fmt.Fprintf(b, "func (v %s) masked() %s {\n", name, name)
		for _, f := range s.named[name].Fields {
			s.maskField(b, f)
		}
		b.WriteString("\treturn v\n}\n\n")
	}
	b.WriteString("// Masked returns a copy of m with every personal field masked: the only form in which logs, traces\n" +
		"// and the console show a message. Fields that are not personal may share memory with m.\n" +
		"func Masked(m Message) Message {\n\tswitch m := m.(type) {\n")
	for _, name := range s.events() {
		if s.holdsPersonal(name) {
			fmt.Fprintf(b, "\tcase *%s:\n\t\tv := m.masked()\n\t\treturn &v\n", name)
		}
	}
	b.WriteString("\t}\n\treturn m\n}\n\n")
}

// maskField writes the statement that masks one field. The lint keeps the cases few: pii stands on
// strings, bytes, arrays of strings and nullable strings alone.
func (s *set) maskField(b *bytes.Buffer, f avsc.Field) {
	t, field := f.Type, "v."+camel(f.Name)
	inner, wrap := t, ""
	switch {
	case t.Union != nil:
		inner, wrap = t.Union[1], "maskPointer"
	case t.Obj != nil && t.Obj.Items != nil:
		inner, wrap = *t.Obj.Items, "maskSlice"
	}
	var mask string
	switch {
	case f.PII == schema.PIIRaw:
		mask = "maskRaw"
	case f.PII != "":
		mask = fmt.Sprintf("func(s string) string { return Mask(%q, s) }", f.PII)
	case s.holdsPersonal(recordName(inner)):
		mask = s.goType(inner) + ".masked"
	default:
		return
	}
	switch {
	case wrap != "":
		fmt.Fprintf(b, "\t%s = %s(%s, %s)\n", field, wrap, field, mask)
	case f.PII == schema.PIIRaw:
		fmt.Fprintf(b, "\t%s = maskRaw(%s)\n", field, field)
	case f.PII != "":
		fmt.Fprintf(b, "\t%s = Mask(%q, %s)\n", field, f.PII, field)
	default:
		fmt.Fprintf(b, "\t%s = %s.masked()\n", field, field)
	}
}

func (s *set) holdsPersonal(name string) bool {
	found := false
	if o := s.named[name]; o != nil {
		s.eachPersonal(o, "", func(string, string) { found = true })
	}
	return found
}

// personal writes Personal: the table of the personal fields by path.
func (s *set) personal(b *bytes.Buffer) {
	b.WriteString("// Personal returns the personal fields of a type, in the order of its schema.\n" +
		"func Personal(t Type) []PersonalField {\n\tswitch t {\n")
	for _, name := range s.events() {
		if !s.holdsPersonal(name) {
			continue
		}
		fmt.Fprintf(b, "\tcase Type%s:\n\t\treturn []PersonalField{\n", name)
		s.eachPersonal(s.named[name], "", func(path, kind string) {
			fmt.Fprintf(b, "\t\t\t{Path: %q, Kind: %q},\n", path, kind)
		})
		b.WriteString("\t\t}\n")
	}
	b.WriteString("\t}\n\treturn nil\n}\n")
}

func (s *set) eachPersonal(o *avsc.Object, path string, visit func(path, kind string)) {
	for _, f := range o.Fields {
		if f.PII != "" {
			visit(path+f.Name, f.PII)
		}
		t := f.Type
		if t.Union != nil {
			t = t.Union[1]
		}
		if t.Obj != nil && t.Obj.Items != nil {
			t = *t.Obj.Items
		}
		if inner := s.named[recordName(t)]; inner != nil {
			s.eachPersonal(inner, path+f.Name+".", visit)
		}
	}
}

func recordName(t avsc.Type) string {
	if t.Obj != nil {
		return t.Obj.Name
	}
	return t.Name
}
