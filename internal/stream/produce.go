package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/avro/wire"
	"conveyance/internal/kafka"
	"conveyance/internal/observe"
	"conveyance/internal/verdict"
)

const (
	// chunkRecords and chunkBytes are what is buffered before anything of it is sent.
	chunkRecords = 2000
	chunkBytes   = 8 << 20
	// recordOverhead is what Kafka's frame and the engine's headers add to a record at most.
	recordOverhead = 2 << 10
)

// encoder makes Kafka records of what handlers emit.
type encoder struct {
	codec  *wire.Codec
	prefix string
}

// encode frames o and adds its headers; in is the record that it follows from, nil for none. What
// no topic can take parks, and a registry that is away stalls.
func (e encoder) encode(ctx context.Context, in *Record, o Out) (*kgo.Record, error) {
	r := &kgo.Record{Topic: e.prefix + o.Topic, Key: o.Key, Headers: headers(in, o)}
	size := len(o.Key) + recordOverhead
	for _, h := range o.Headers {
		size += len(h.Key) + len(h.Value)
	}
	if o.Message != nil {
		value, err := e.codec.AppendEncode(ctx, nil, o.Topic, o.Message)
		switch {
		case errors.Is(err, wire.ErrUnencodable):
			return nil, verdict.Parked(
				"unencodable",
				fmt.Errorf("encoding %s for %s: %w", o.Message.Type(), o.Topic, err),
			)
		case err != nil && ctx.Err() != nil:
			return nil, err
		case err != nil:
			return nil, verdict.Stalled(
				"registry unavailable",
				fmt.Errorf("encoding %s for %s: %w", o.Message.Type(), o.Topic, err),
			)
		}
		r.Value = value
	}
	if limit := bytesMax(o.Topic); size+len(r.Value) > limit {
		return nil, verdict.Parked(
			"too large",
			fmt.Errorf("a record of %d bytes for %s, which takes %d", size+len(r.Value), o.Topic, limit),
		)
	}
	return r, nil
}

// bytesMax is the largest message of a topic, without prefix.
func bytesMax(name string) int {
	if strings.HasPrefix(name, strings.TrimSuffix(topic.Snapshots(""), ".v1")) {
		return topic.SnapshotBytesMax
	}
	return topic.MessageBytesMax
}

// batchMax is bytesMax by the full name, for the client.
func (e encoder) batchMax(full string) int32 {
	return int32(bytesMax(strings.TrimPrefix(full, e.prefix))) //nolint:gosec // G115: a few MiB
}

// ownHeaders is how many headers the engine adds at most, and headerBytes what their values mostly
// take together: one piece of memory instead of eight.
const (
	ownHeaders  = 8
	headerBytes = 384
)

// headers are CloudEvents' binary ones and the trace, then the handler's own.
func headers(in *Record, o Out) []kgo.RecordHeader {
	hs := make([]kgo.RecordHeader, 0, ownHeaders+len(o.Headers))
	buf := make([]byte, 0, headerBytes)
	add := func(k, v string) {
		if v != "" {
			at := len(buf)
			buf = append(buf, v...)
			hs = append(hs, kgo.RecordHeader{Key: k, Value: buf[at:len(buf):len(buf)]})
		}
	}
	if o.Message != nil {
		a := attributesOf(o)
		add("ce_specversion", "1.0")
		add("ce_id", a.id)
		add("ce_source", a.source)
		add(typeHeader, string(o.Message.Type()))
		add("ce_time", a.at.UTC().Format(time.RFC3339Nano))
		add("ce_subject", a.subject)
		add("content-type", "application/avro")
	}
	if !slices.ContainsFunc(o.Headers, func(h Header) bool { return h.Key == traceHeader }) {
		add(traceHeader, traceOf(in))
	}
	for _, h := range o.Headers {
		hs = append(hs, kgo.RecordHeader(h))
	}
	return hs
}

// attributes are a message's CloudEvents ones: id is unique within source, and none holds personal data.
type attributes struct {
	id, source, subject string
	at                  time.Time
}

func attributesOf(o Out) attributes {
	of := func(r event.Resource) string { return "/" + r.Tenant + "/" + r.Vendor + "/" + r.Account }
	switch m := o.Message.(type) {
	case event.Event:
		s := m.Source()
		return attributes{id: s.EventID, source: of(s.Resource), subject: s.Resource.Key(), at: s.ReadAt}
	case *event.VendorSnapshot:
		return attributes{
			id:      strconv.FormatInt(m.Token, 10),
			source:  of(m.Resource),
			subject: m.Resource.Key(),
			at:      m.ReadAt,
		}
	case *event.WebhookReceived:
		return attributes{
			id:     m.DeliveryID,
			source: of(event.Resource{Tenant: m.Tenant, Vendor: m.Vendor, Account: m.Account}),
			at:     m.ReceivedAt,
		}
	}
	return attributes{id: uuid.NewString(), source: "/" + o.Topic, at: time.Now()}
}

const traceHeader = "traceparent"

// traceOf is a step of its own in the input's trace, or begins one where there is none that can be
// read.
func traceOf(in *Record) string {
	if in != nil {
		if parent, ok := header(in, traceHeader); ok {
			if t, ok := observe.ParseTrace(string(parent)); ok {
				return t.Child().String()
			}
		}
	}
	return observe.NewTrace().String()
}

// chunks produces records of batches. The client flushes by hand: nothing of a chunk is sent before
// all of it is buffered, and a broker's refusal fails everything that is buffered for its
// partition. So no record of a key is written after one before it was refused (protocol.md 10).
type chunks struct {
	open func() (*kgo.Client, error)
	mu   sync.Mutex // one chunk at a time: a flush would send what another batch is still buffering
	cl   *kgo.Client
}

// producers is how many clients produce for the batches of a process, so that one of them need not
// wait for the acknowledgements of another: as many as may write to Postgres.
const producers = 3

// newChunks makes the clients when they are first needed: most engines produce nothing.
func newChunks(base []kgo.Opt, enc encoder) []*chunks {
	open := func() (*kgo.Client, error) {
		return kgo.NewClient(append(producing(base, enc),
			kgo.ManualFlushing(),
			kgo.MaxBufferedRecords(2*chunkRecords), // one chunk, and one of a partition that was given up
		)...)
	}
	lines := make([]*chunks, producers)
	for i := range lines {
		lines[i] = &chunks{open: open}
	}
	return lines
}

func (c *chunks) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cl != nil {
		c.cl.Close()
	}
}

// produce returns when every record is acknowledged by all in-sync replicas, or after the first
// chunk in which one was not: then nothing behind it was sent.
func (c *chunks) produce(ctx context.Context, records []*kgo.Record) error {
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) && n < chunkRecords && (n == 0 || size < chunkBytes) {
			size += len(records[n].Value)
			n++
		}
		if err := c.chunk(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

func (c *chunks) chunk(ctx context.Context, records []*kgo.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cl == nil {
		cl, err := c.open()
		if err != nil {
			return fmt.Errorf("making a client to produce with: %w", err)
		}
		c.cl = cl
	}
	results := make(chan error, len(records))
	for _, r := range records {
		// The context of a record would cancel it alone, and let the next of its key pass.
		c.cl.Produce(context.WithoutCancel(ctx), r, landed(func(err error) { results <- err }))
	}
	if err := c.cl.Flush(ctx); err != nil {
		return fmt.Errorf("producing %d records: %w", len(records), err)
	}
	var first error
	for range records {
		if err := <-results; err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		return refused(fmt.Errorf("producing %d records: %w", len(records), first))
	}
	return nil
}

// landed tells done what became of r; where a right is missing, which one.
func landed(done func(error)) func(*kgo.Record, error) {
	return func(r *kgo.Record, err error) { done(kafka.Lacks(err, "WRITE", "topic", r.Topic)) }
}

// refused is a stall where a broker refuses what it would refuse of any record: no attempt is spent on a right
// that is missing, or on a topic.
func refused(err error) error {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return verdict.Stalled("a right at kafka is missing", err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return verdict.Stalled("a topic is missing", err)
	}
	return err
}
