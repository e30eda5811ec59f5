// Package wire turns messages into Kafka record values and back: Confluent's frame (a zero byte and
// a big-endian schema id) around Avro. It is the only importer of hamba/avro and of the registry
// client. Every message is walked by its writer schema before hamba sees it: lengths and counts fit
// the bytes that are left, and the last byte is consumed. It never registers a schema at run time;
// the Registrar, which operators call, does.
package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conveyance/avro/event"
	"conveyance/avro/schema"
)

// GraceDefault is above the lag of any follower of a registry, and within the time in which somebody
// looks at a partition that stands still.
const GraceDefault = 60 * time.Second

// The classes of errors. Each error of Decode matches ErrPoison, ErrUnavailable or ErrUnknownType, or
// is the context's; each error of AppendEncode matches ErrUnavailable or ErrUnencodable, or is the
// context's.
var (
	// ErrPoison: the bytes can never be read (bad frame, bytes that do not match their schema, an
	// id that the registry keeps denying). The record parks.
	ErrPoison = errors.New("undecodable message")
	// ErrUnavailable: the registry does not answer, or does not know the id yet. The partition stalls.
	ErrUnavailable = errors.New("schema registry unavailable")
	// ErrUnknownSchema: the registry denies the frame's id. It comes with ErrUnavailable while that may
	// be the lag of a follower, and with ErrPoison after Config.Grace.
	ErrUnknownSchema = errors.New("unknown schema")
	// ErrUnknownType: the frame names a schema whose record this build lacks. Skipped, counted.
	ErrUnknownType = errors.New("unknown event type")
	// ErrUnencodable: the message breaks a limit or its own schema, so that no reader could take it
	// (text that is not UTF-8, an enum without a symbol, too many items). The cause parks.
	ErrUnencodable = errors.New("unencodable message")
)

// Config of a codec.
type Config struct {
	// Registry is the registry's URL, or several with commas, tried in turn. Empty: the embedded
	// schemas only, with ids made from their position (tests).
	Registry string
	Prefix   string // topic prefix: part of the subject
	Cache    string // file that keeps known ids over a restart; empty = none

	// Grace is how long an id that the registry denies may be the lag of a follower, from its first
	// denial on: meanwhile its records stall, then they are poison. Default GraceDefault.
	Grace time.Duration
	// Now is the clock that Grace is measured by. Default time.Now.
	Now func() time.Time
	// Transport-level options (TLS, auth) are added with the issue that asks for them.
}

// Codec encodes and decodes. It is safe for concurrent use; ids are cached for its life.
type Codec struct {
	prefix   string
	source   source
	encoders cow[event.Type, *encoder]
	ids      cow[slot, uint32]     // what AppendEncode frames with
	decoders cow[uint32, *decoder] // by writer id
}

// source is where ids and texts of schemas come from: the registry, or the embedded texts.
type source interface {
	// id returns the id of a text under a subject; ErrUnavailable where it cannot be had now.
	id(ctx context.Context, subject, text string) (uint32, error)
	// text returns the text of an id; ErrUnavailable, or ErrPoison where it will never be known.
	text(ctx context.Context, id uint32) (string, error)
}

// slot is a place for one type's messages: its subject, without the prefix.
type slot struct {
	topic string
	typ   event.Type
}

// New returns a codec. It makes no call: the registry is asked when an id is first needed. It fails
// for a URL that is none and for a cache file that exists and cannot be read.
func New(cfg Config) (*Codec, error) {
	if cfg.Registry == "" {
		return &Codec{prefix: cfg.Prefix, source: newEmbedded()}, nil
	}
	r, err := newRemote(cfg)
	if err != nil {
		return nil, err
	}
	return &Codec{prefix: cfg.Prefix, source: r}, nil
}

// AppendEncode appends m, framed for a topic (without prefix), to dst. The schema id is the
// registry's for subject <prefix><topic>-<record name>; where the registry is away and the id was
// never seen, or the registry does not hold this build's schema, it returns ErrUnavailable. It
// blocks for the registry only the first time. What it appends passed the same walk that Decode
// makes: nothing is written that a reader would refuse. On an error dst is returned as it was.
func (c *Codec) AppendEncode(ctx context.Context, dst []byte, topic string, m event.Message) ([]byte, error) {
	if m == nil {
		return dst, fmt.Errorf("%w: no message for topic %s", ErrUnencodable, topic)
	}
	e, err := c.encoder(m.Type())
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrUnencodable, err)
	}
	at := slot{topic: topic, typ: m.Type()}
	id, ok := c.ids.get(at)
	if !ok {
		if id, err = c.source.id(ctx, Subject(c.prefix, topic, at.typ), e.text); err != nil {
			return dst, fmt.Errorf("asking for the schema id of %s on %s: %w", at.typ, topic, err)
		}
		c.ids.put(at, id)
	}
	return e.append(dst, id, m)
}

// Decode reads a framed value into a new message. It keeps no reference to value, and the message's
// byte slices are the caller's to append to. It blocks for the registry the first time that an id
// is seen, for 5 seconds at most.
func (c *Codec) Decode(ctx context.Context, value []byte) (event.Message, error) {
	id, body, err := splitFrame(value)
	if err != nil {
		return nil, err
	}
	d, ok := c.decoders.get(id)
	if !ok {
		text, err := c.source.text(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("asking for schema %d: %w", id, err)
		}
		d = c.decoderOf(text)
		c.decoders.put(id, d)
	}
	m, err := d.decode(body)
	if err != nil {
		return nil, fmt.Errorf("decoding by schema %d: %w", id, err)
	}
	return m, nil
}

// encoder returns the one encoder of a type, made when it is first needed: a process handles a few
// types of all.
func (c *Codec) encoder(t event.Type) (*encoder, error) {
	if e, ok := c.encoders.get(t); ok {
		return e, nil
	}
	text, ok := schema.All()[string(t)]
	if !ok {
		return nil, fmt.Errorf("this build has no schema of %s", t)
	}
	e, err := newEncoder(t, text)
	if err != nil {
		return nil, fmt.Errorf("compiling the schema of %s: %w", t, err)
	}
	c.encoders.put(t, e)
	return e, nil
}

// Subject returns the registry's subject of a type on a topic (without prefix): topic and full
// record name, so that one topic carries several types, each with its own line of versions.
func Subject(prefix, topic string, t event.Type) string {
	return prefix + topic + "-" + schema.Namespace + "." + string(t)
}
