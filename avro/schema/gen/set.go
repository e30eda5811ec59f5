package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"conveyance/avro/schema"
	"conveyance/avro/schema/internal/avsc"
)

// set is every named type of the folder, those defined inside a field included.
type set struct {
	named map[string]*avsc.Object
	used  map[string]bool // named types that some field refers to
}

func load(folder string) (*set, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.avsc"))
	if err != nil {
		return nil, err
	}
	s := &set{named: map[string]*avsc.Object{}, used: map[string]bool{}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		t, err := avsc.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if t.Obj == nil || snake(t.Obj.Name)+".avsc" != filepath.Base(file) {
			return nil, fmt.Errorf("%s does not define the type that it is named after", file)
		}
		s.add(t)
	}
	return s, nil
}

func (s *set) add(t avsc.Type) {
	for _, u := range t.Union {
		s.add(u)
	}
	if t.Name != "" {
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
	t := s.expand(avsc.Type{Name: name}, map[string]bool{})
	t.Obj.Namespace = schema.Namespace
	text, err := json.MarshalIndent(t, "", "  ")
	return append(text, '\n'), err
}

// expand leaves a name that the folder does not define as it is: a primitive, or the lint finds it.
func (s *set) expand(t avsc.Type, seen map[string]bool) avsc.Type {
	if o := s.named[t.Name]; o != nil && !seen[t.Name] {
		t = avsc.Type{Obj: o}
	}
	if t.Union != nil {
		t.Union = slices.Clone(t.Union)
		for i, u := range t.Union {
			t.Union[i] = s.expand(u, seen)
		}
	}
	if t.Obj == nil {
		return t
	}
	o := *t.Obj
	if o.Name != "" {
		if seen[o.Name] {
			return avsc.Type{Name: o.Name}
		}
		seen[o.Name], o.Namespace = true, ""
	}
	o.Fields = slices.Clone(o.Fields)
	for i := range o.Fields {
		o.Fields[i].Type = s.expand(o.Fields[i].Type, seen)
	}
	if o.Items != nil {
		items := s.expand(*o.Items, seen)
		o.Items = &items
	}
	return avsc.Type{Obj: &o}
}
