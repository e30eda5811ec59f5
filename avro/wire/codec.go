package wire

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/hamba/avro/v2"

	"conveyance/avro/event"
	"conveyance/avro/schema"
)

// frozen returns a hamba configuration. Each encoder and decoder has one of its own: hamba caches
// by a fingerprint that ignores defaults, so a shared cache may answer with another schema's codec.
func frozen() avro.API {
	return avro.Config{
		DisableBlockSizeHeader: true,     // the smaller form, which every reader knows
		BlockLength:            itemsMax, // one block per array: readers need not grow it
		MaxByteSliceSize:       bytesBytesMax,
		MaxSliceAllocSize:      itemsMax,
	}.Freeze()
}

// parse reads a schema text by itself: hamba's default cache would resolve a name that the text
// lacks with the last schema of that name.
func parse(text string) (*avro.RecordSchema, error) {
	s, err := avro.ParseWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		return nil, err
	}
	r, ok := s.(*avro.RecordSchema)
	if !ok {
		return nil, fmt.Errorf("schema is a %s, not a record", s.Type())
	}
	return r, nil
}

// encoder writes one type by this build's schema.
type encoder struct {
	text    string
	schema  *avro.RecordSchema
	program *program
	writers sync.Pool // *avro.Writer
}

func newEncoder(t event.Type, text string) (*encoder, error) {
	s, err := parse(text)
	if err != nil {
		return nil, err
	}
	if want := schema.Namespace + "." + string(t); s.FullName() != want {
		return nil, fmt.Errorf("schema defines %s, not %s", s.FullName(), want)
	}
	p, err := compile(s)
	if err != nil {
		return nil, err
	}
	api := frozen()
	e := &encoder{text: text, schema: s, program: p}
	e.writers.New = func() any { return avro.NewWriter(nil, 1024, avro.WithWriterConfig(api)) }
	return e, nil
}

// append writes m behind dst, framed with the schema's id.
func (e *encoder) append(dst []byte, id uint32, m event.Message) ([]byte, error) {
	w := e.writers.Get().(*avro.Writer)
	defer e.writers.Put(w)
	w.Reset(nil)
	w.Error = nil
	w.WriteVal(e.schema, m)
	if w.Error != nil {
		return dst, fmt.Errorf("%w: %s: %s", ErrUnencodable, m.Type(), masked(w.Error))
	}
	if err := e.program.check(w.Buffer(), ErrUnencodable); err != nil {
		return dst, fmt.Errorf("encoding %s: %w", m.Type(), err)
	}
	dst = slices.Grow(dst, frameBytes+len(w.Buffer()))
	return append(appendFrame(dst, id), w.Buffer()...), nil
}

// masked is hamba's message without the value that it ends with where an enum has no such symbol.
func masked(err error) string {
	text, _, _ := strings.Cut(err.Error(), "enum symbol: ")
	return text
}

// decoder reads what one writer schema wrote into this build's type.
type decoder struct {
	err     error // every message of this schema, if not nil
	typ     event.Type
	program *program
	schema  avro.Schema // the writer's, resolved to this build's
	readers sync.Pool   // *avro.Reader
}

// decoderOf resolves a writer's text once. A schema that this build cannot read gives a decoder
// that says so for every message.
func (c *Codec) decoderOf(text string) *decoder {
	w, err := parse(text)
	if err != nil {
		return &decoder{err: fmt.Errorf("%w: writer's schema cannot be parsed: %w", ErrPoison, err)}
	}
	typ := event.Type(w.Name())
	if _, ok := event.New(typ); !ok || w.Namespace() != schema.Namespace {
		return &decoder{err: fmt.Errorf("%w: %s", ErrUnknownType, w.FullName())}
	}
	e, err := c.encoder(typ)
	if err != nil {
		return &decoder{err: fmt.Errorf("%w: %w", ErrPoison, err)}
	}
	p, err := compile(w)
	if err != nil {
		return &decoder{err: fmt.Errorf("%w: writer's schema of %s: %w", ErrPoison, typ, err)}
	}
	// A new SchemaCompatibility each time: its cache, too, goes by fingerprint.
	resolved, err := avro.NewSchemaCompatibility().Resolve(e.schema, w)
	if err != nil {
		return &decoder{err: fmt.Errorf("%w: writer's schema of %s cannot be read: %w", ErrPoison, typ, err)}
	}
	api := frozen()
	d := &decoder{typ: typ, program: p, schema: resolved}
	d.readers.New = func() any { return avro.NewReader(nil, 0, avro.WithReaderConfig(api)) }
	return d
}

func (d *decoder) decode(body []byte) (event.Message, error) {
	if d.err != nil {
		return nil, d.err
	}
	if err := d.program.check(body, ErrPoison); err != nil {
		return nil, fmt.Errorf("walking %s: %w", d.typ, err)
	}
	m, ok := event.New(d.typ)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownType, d.typ)
	}
	r := d.readers.Get().(*avro.Reader)
	defer d.readers.Put(r)
	r.Reset(body)
	r.Error = nil
	r.ReadVal(d.schema, m)
	if r.Error == nil {
		if r.Peek(); !errors.Is(r.Error, io.EOF) {
			r.Error = errors.New("bytes are left over")
		} else {
			r.Error = nil
		}
	}
	err := r.Error
	r.Reset(nil) // keeps no reference to body
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPoison, d.typ, err)
	}
	own(m)
	return m, nil
}

// own gives a message's byte slices a capacity of their own. Hamba cuts short ones from a slab with
// the room behind them, which holds the next strings: an append would write over those.
func own(m event.Message) {
	switch m := m.(type) {
	case *event.WebhookReceived:
		m.Body = slices.Clip(m.Body)
	case *event.VendorSnapshot:
		for i := range m.Parts {
			m.Parts[i].Body = slices.Clip(m.Parts[i].Body)
		}
	}
}

// check walks b and says what is wrong, where, never with the content.
func (p *program) check(b []byte, class error) error {
	at, pc, f := p.walk(b)
	switch {
	case f == none:
		return nil
	case pc < 0:
		return fmt.Errorf("%w: %s at byte %d of %d", class, f, at, len(b))
	default:
		return fmt.Errorf("%w: field %s: %s at byte %d of %d", class, p.paths[pc], f, at, len(b))
	}
}
