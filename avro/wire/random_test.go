package wire

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/avro/schema"
)

// generator makes random messages by their schemas: fast, seeded, and with what is rare in life:
// empty and long texts, several scripts, times at both ends, every enum symbol.
type generator struct {
	*rand.Rand
	schemas map[event.Type]*avro.RecordSchema
}

func newGenerator(t testing.TB, seed uint64) *generator {
	t.Helper()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 3)), schemas: map[event.Type]*avro.RecordSchema{}}
	for name, text := range schema.All() {
		s, err := parse(text)
		require.NoError(t, err)
		g.schemas[event.Type(name)] = s
	}
	return g
}

func (g *generator) message(t event.Type) event.Message {
	m, _ := event.New(t)
	g.fill(g.schemas[t], reflect.ValueOf(m).Elem())
	return m
}

func (g *generator) fill(s avro.Schema, v reflect.Value) {
	switch s := deref(s).(type) {
	case *avro.RecordSchema:
		for i, f := range s.Fields() { // the generator of structs keeps the fields' order
			g.fill(f.Type(), v.Field(i))
		}
	case *avro.UnionSchema:
		if g.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			g.fill(s.Types()[1], v.Elem())
		}
	case *avro.ArraySchema:
		n := g.IntN(5) / 2
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			g.fill(s.Items(), v.Index(i))
		}
	case *avro.EnumSchema:
		v.SetString(s.Symbols()[g.IntN(len(s.Symbols()))])
	case *avro.PrimitiveSchema:
		g.primitive(s, v)
	}
}

func (g *generator) primitive(s *avro.PrimitiveSchema, v reflect.Value) {
	switch s.Type() {
	case avro.Boolean:
		v.SetBool(g.IntN(2) == 0)
	case avro.String:
		v.SetString(g.text())
	case avro.Bytes:
		v.SetBytes([]byte(g.text()))
	case avro.Int:
		if logical(s) == avro.Date {
			days := daysMin + g.Int64N(daysMax-daysMin+1)
			v.Set(reflect.ValueOf(time.Unix(days*86_400, 0).UTC()))
			return
		}
		v.SetInt(int64(int32(g.Uint32() >> g.IntN(32))))
	case avro.Long:
		if logical(s) == avro.TimestampMillis {
			v.Set(reflect.ValueOf(time.UnixMilli(millisMin + g.Int64N(millisMax-millisMin+1)).UTC()))
			return
		}
		v.SetInt(int64(g.Uint64() >> g.IntN(64)))
	default: // the contract has no other
	}
}

func (g *generator) text() string {
	words := [...]string{
		"", "", "", "12 Lake St", "Ærøskøbing", "東京", "a@example.com", "\x00", "🏠", "+13125550100",
	}
	if g.IntN(200) == 0 {
		return strings.Repeat("x", g.IntN(5000))
	}
	return words[g.IntN(len(words))]
}

func newCodec(t testing.TB) *Codec {
	t.Helper()
	c, err := New(Config{})
	require.NoError(t, err)
	return c
}

// topicOf is any topic: without a registry the id does not depend on it.
const topicOf = "any.v1"
