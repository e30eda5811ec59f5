package wire

import (
	"fmt"
	"slices"

	"github.com/hamba/avro/v2"
)

// Break is one reason why a reader cannot take what a writer wrote.
type Break struct {
	Field string `json:"field"` // path, array items as []
	Rule  string `json:"rule"`
}

// Breaks says what in a writer's messages a reader could not take, each field of the schemas being
// looked at. It is Avro's resolution and stricter where the contract is: no promotion of types
// (int to long, string to bytes), no change of a logical type, nothing becomes nullable later. It
// does not use hamba's own check, which caches by a fingerprint that ignores defaults.
func Breaks(reader, writer string) ([]Break, error) {
	r, err := parse(reader)
	if err != nil {
		return nil, fmt.Errorf("parsing the reader's schema: %w", err)
	}
	w, err := parse(writer)
	if err != nil {
		return nil, fmt.Errorf("parsing the writer's schema: %w", err)
	}
	c := comparer{seen: map[string]bool{}}
	c.types(r, w, "")
	return c.breaks, nil
}

type comparer struct {
	breaks []Break
	seen   map[string]bool // records being compared, where a schema is recursive
}

func (c *comparer) add(path, rule string, args ...any) {
	c.breaks = append(c.breaks, Break{Field: path, Rule: fmt.Sprintf(rule, args...)})
}

func (c *comparer) types(r, w avro.Schema, path string) {
	r, w = deref(r), deref(w)
	if r.Type() != w.Type() {
		c.add(path, "is %s to the reader and %s in what was written", r.Type(), w.Type())
		return
	}
	switch r := r.(type) {
	case *avro.RecordSchema:
		c.records(r, w.(*avro.RecordSchema), path)
	case *avro.EnumSchema:
		c.enums(r, w.(*avro.EnumSchema), path)
	case *avro.ArraySchema:
		c.types(r.Items(), w.(*avro.ArraySchema).Items(), path+"[]")
	case *avro.UnionSchema:
		c.unions(r, w.(*avro.UnionSchema), path)
	case *avro.PrimitiveSchema:
		if a, b := logical(r), logical(w.(*avro.PrimitiveSchema)); a != b {
			c.add(path, "has logical type %q to the reader and %q in what was written", a, b)
		}
	case *avro.NullSchema:
	default:
		c.add(path, "is a %s, which is not part of the contract", r.Type())
	}
}

func (c *comparer) records(r, w *avro.RecordSchema, path string) {
	if r.FullName() != w.FullName() {
		c.add(path, "is record %s to the reader and %s in what was written", r.FullName(), w.FullName())
		return
	}
	if c.seen[r.FullName()] {
		return
	}
	c.seen[r.FullName()] = true
	defer delete(c.seen, r.FullName())
	for _, f := range r.Fields() {
		at := join(path, f.Name())
		i := slices.IndexFunc(w.Fields(), func(g *avro.Field) bool { return g.Name() == f.Name() })
		switch {
		case i >= 0:
			c.types(f.Type(), w.Fields()[i].Type(), at)
		case !f.HasDefault():
			c.add(at, "is asked for by the reader without a default, and was not written")
		}
	}
}

func (c *comparer) enums(r, w *avro.EnumSchema, path string) {
	if r.FullName() != w.FullName() {
		c.add(path, "is enum %s to the reader and %s in what was written", r.FullName(), w.FullName())
		return
	}
	for _, s := range w.Symbols() {
		if !r.HasDefault() && !slices.Contains(r.Symbols(), s) {
			c.add(path, "symbol %s is unknown to the reader, whose enum has no default", s)
		}
	}
}

func (c *comparer) unions(r, w *avro.UnionSchema, path string) {
	a, b := r.Types(), w.Types()
	if len(a) != len(b) {
		c.add(path, "has %d branches to the reader and %d in what was written", len(a), len(b))
		return
	}
	for i := range a {
		c.types(a[i], b[i], path)
	}
}

func deref(s avro.Schema) avro.Schema {
	if r, ok := s.(*avro.RefSchema); ok {
		return r.Schema()
	}
	return s
}

func logical(s *avro.PrimitiveSchema) avro.LogicalType {
	if s.Logical() == nil {
		return ""
	}
	return s.Logical().Type()
}
