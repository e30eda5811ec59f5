package wire

import (
	"fmt"
	"math"

	"github.com/hamba/avro/v2"
)

// compile makes a program of a schema. It knows the language of the contract (what schema.Lint
// allows) and refuses the rest, so that hamba is never asked to read a map, a decimal, a recursion
// or an array of nothing, which it reads wrong or without end.
func compile(s avro.Schema) (*program, error) {
	c := compiler{open: map[string]bool{}, p: &program{}}
	if err := c.emit(s, "", 0); err != nil {
		return nil, err
	}
	return c.p, nil
}

// opsMax bounds a program: a few records that use each other twice would make it grow without end.
// The largest schema of today has about 150.
const opsMax = 10_000

type compiler struct {
	p    *program
	open map[string]bool // records that are being written out
}

func (c *compiler) op(o op, path string) int {
	c.p.ops = append(c.p.ops, o)
	c.p.paths = append(c.p.paths, path)
	return len(c.p.ops) - 1
}

func (c *compiler) emit(s avro.Schema, path string, depth int) error {
	if len(c.p.ops) > opsMax {
		return fmt.Errorf("field %s: the schema has more than %d fields, shared records counted at each use", path, opsMax)
	}
	switch s := s.(type) {
	case *avro.RefSchema:
		return c.emit(s.Schema(), path, depth)
	case *avro.RecordSchema:
		if c.open[s.FullName()] {
			return fmt.Errorf("field %s: %s contains itself", path, s.FullName())
		}
		c.open[s.FullName()] = true
		defer delete(c.open, s.FullName())
		for _, f := range s.Fields() {
			if err := c.emit(f.Type(), join(path, f.Name()), depth); err != nil {
				return err
			}
		}
		return nil
	case *avro.UnionSchema:
		return c.union(s, path, depth)
	case *avro.ArraySchema:
		return c.array(s, path, depth)
	case *avro.EnumSchema:
		c.op(op{code: opEnum, n: clamp(len(s.Symbols()))}, path)
		return nil
	case *avro.PrimitiveSchema:
		return c.primitive(s, path)
	default:
		return fmt.Errorf("field %s: %s is not part of the contract", path, s.Type())
	}
}

func (c *compiler) union(s *avro.UnionSchema, path string, depth int) error {
	types := s.Types()
	if len(types) != 2 || types[0].Type() != avro.Null {
		return fmt.Errorf("field %s: a union other than null and one type is not part of the contract", path)
	}
	at := c.op(op{code: opNullable}, path)
	err := c.emit(types[1], path, depth)
	c.p.ops[at].to = clamp(len(c.p.ops))
	return err
}

func (c *compiler) array(s *avro.ArraySchema, path string, depth int) error {
	if depth == depthMax {
		return fmt.Errorf("field %s: arrays nest more than %d deep", path, depthMax)
	}
	at := c.op(op{code: opArray}, path)
	if err := c.emit(s.Items(), path+"[]", depth+1); err != nil {
		return err
	}
	c.op(op{code: opNext, to: clamp(at + 1)}, path)
	least := leastBytes(s.Items())
	if least == 0 {
		return fmt.Errorf("field %s: an array of nothing is not part of the contract", path)
	}
	c.p.ops[at].n, c.p.ops[at].to = clamp(least), clamp(len(c.p.ops))
	return nil
}

func (c *compiler) primitive(s *avro.PrimitiveSchema, path string) error {
	code, ok := map[avro.Type]opcode{
		avro.Boolean: opBoolean, avro.Int: opInt, avro.Long: opLong, avro.String: opString, avro.Bytes: opBytes,
	}[s.Type()]
	if !ok {
		return fmt.Errorf("field %s: %s is not part of the contract", path, s.Type())
	}
	if s.Logical() != nil {
		switch s.Logical().Type() {
		case avro.Date:
			code = opDate
		case avro.TimestampMillis:
			code = opMillis
		case avro.UUID:
		default:
			return fmt.Errorf("field %s: %s is not part of the contract", path, s.Logical().Type())
		}
	}
	c.op(op{code: code}, path)
	return nil
}

// leastBytes is the size of the smallest value of a schema that was emitted, and so does not contain
// itself.
func leastBytes(s avro.Schema) int {
	switch s := s.(type) {
	case *avro.NullSchema:
		return 0
	case *avro.RefSchema:
		return leastBytes(s.Schema())
	case *avro.RecordSchema:
		n := 0
		for _, f := range s.Fields() {
			n += leastBytes(f.Type())
		}
		return n
	default:
		return 1 // a length, a count, an index or a number of one byte
	}
}

// clamp makes a number fit an op. Only an enum can have more symbols, and fewer of them is stricter;
// opsMax bounds the rest.
func clamp(n int) uint16 { return uint16(min(n, math.MaxUint16)) } //nolint:gosec // G115: bounded by min

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}
