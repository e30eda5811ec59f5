// Package wire turns messages into Kafka record values and back: Confluent's frame (a zero byte and
// a big-endian schema id) around Avro. It is the only importer of hamba/avro and of the registry
// client. Every message is walked by its writer schema before hamba sees it: lengths and counts fit
// the bytes that are left, and the last byte is consumed. It never registers a schema at run time.
package wire

import (
	"context"
	"errors"

	"conveyance/avro/event"
)

// The classes of decoding errors; each error of Decode matches one of them, or is the context's.
var (
	// ErrPoison: the bytes can never be read (bad frame, bytes that do not match their schema, an
	// id that the registry keeps denying). The record parks.
	ErrPoison = errors.New("undecodable message")
	// ErrUnavailable: the registry does not answer, or does not know the id yet. The partition stalls.
	ErrUnavailable = errors.New("schema registry unavailable")
	// ErrUnknownType: a well-formed message of a type that this build does not know. Skipped, counted.
	ErrUnknownType = errors.New("unknown event type")
)

// Config of a codec.
type Config struct {
	Registry string // URL; empty = embedded schemas only, with ids made from their position (tests)
	Prefix   string // topic prefix: part of the subject
	Cache    string // file that keeps known ids over a restart; empty = none
	// Transport-level options (TLS, auth) are added with the issue that asks for them.
}

// Codec encodes and decodes. It is safe for concurrent use; ids are cached for its life.
type Codec struct {
	impl impl
}

// impl stands in until the codec lands.
type impl interface {
	encode(ctx context.Context, dst []byte, topic string, m event.Message) ([]byte, error)
	decode(ctx context.Context, value []byte) (event.Message, error)
}

// New returns a codec. It makes no call: the registry is asked when an id is first needed.
func New(cfg Config) (*Codec, error) {
	_ = cfg
	return &Codec{}, nil
}

// AppendEncode appends m, framed for a topic (without prefix), to dst. The schema id is the
// registry's for subject <prefix><topic>-<record name>; where the registry is away and the id was
// never seen it returns ErrUnavailable. It blocks for the registry only the first time.
func (c *Codec) AppendEncode(ctx context.Context, dst []byte, topic string, m event.Message) ([]byte, error) {
	return c.impl.encode(ctx, dst, topic, m)
}

// Decode reads a framed value into a new message. It keeps no reference to value.
func (c *Codec) Decode(ctx context.Context, value []byte) (event.Message, error) {
	return c.impl.decode(ctx, value)
}
