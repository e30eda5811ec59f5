// Package stream is the engine: it reads partitions under a claim, hands records to a handler in
// order, obeys the handler's verdicts, and moves the offset in the Postgres transaction that holds
// what the handler did. It is the only importer of kgo's consumer. The rules are numbered in the
// comments as in the protocol (README.md here tells them in short).
//
// What it guarantees: every record before a stored offset is applied, skipped for a counted reason,
// or in the queue; records of one key are handled in order; a process that lost its claim writes
// nothing more. What it never does: commit an offset ahead of its effects, resume from Kafka's
// group offsets, skip an effect in doubt, or hold a transaction open over a call or a produce.
package stream

import (
	"context"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

// Header is one record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record as a handler sees it: decoded, with its place in the log.
type Record struct {
	Topic     string // without prefix
	Partition int32
	Offset    int64
	Time      time.Time
	Key       []byte
	Headers   []Header
	Value     []byte // as it stands in the log; the handler must not change it
	Message   event.Message
	Queued    bool // drained from the queue, not read live
	Attempt   int  // from 1; counted for queued records, 1 for live ones
}

// Out is a record that a batch handler emits. The engine encodes it, frames it with the writer
// schema's id, adds the CloudEvents headers and traceparent, and produces it.
type Out struct {
	Topic   string // without prefix
	Key     []byte
	Message event.Message // nil is a tombstone
	Headers []Header      // beyond the engine's own
}

// BatchHandler handles many records at once: intake, translate, projections.
//
// It computes from what it reads and from the state that it reads in Postgres (or remembers from
// its own earlier batches, if it is a Forgetter), says per record what it came to, and registers
// the rows to write. The engine then produces what it emitted, awaits every ack, and commits offset
// and rows in one short transaction (protocol.md 8, 9). A returned error is a verdict on the whole
// batch: the batch is handled again from the stored offset, and record by record where that does
// not help. Handle is called concurrently for different partitions, never for one.
type BatchHandler interface {
	Handle(ctx context.Context, b *Batch) error
}

// Forgetter is a BatchHandler that remembers state between batches. Forget is called when the
// partition is revoked or lost, or a transaction of it was refused or is unknown (protocol.md 2),
// never at the same time as Handle for that partition.
type Forgetter interface {
	Forget(topic string, partition int32)
}

// Batch is the records of one partition that a BatchHandler works on, and what it came to.
// It belongs to one call of Handle.
type Batch struct {
	topic     string
	partition int32
	records   []*Record
	results   []Result
	blocked   map[string]bool // keys with a record that did not end
	commits   []func(context.Context, pgx.Tx) error
}

// Result is what one record of a batch came to.
type Result struct {
	Verdict *verdict.Error // nil = done
	Behind  bool           // after a blocked record of its key: queued behind it
	Outs    []Out          // to produce, in order
}

// NewBatchOf returns a batch of records that were read, or made by a test of a handler.
func NewBatchOf(topic string, partition int32, records ...*Record) *Batch {
	return &Batch{
		topic: topic, partition: partition, records: records,
		results: make([]Result, len(records)), blocked: map[string]bool{},
	}
}

// Results returns what each record came to so far, in the order of the records.
func (b *Batch) Results() []Result { return b.results }

// Write runs what the handler registered with Commit, in its order.
func (b *Batch) Write(ctx context.Context, tx pgx.Tx) error {
	for _, fn := range b.commits {
		if err := fn(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// Topic is the batch's topic, without prefix.
func (b *Batch) Topic() string { return b.topic }

// Partition is the batch's partition.
func (b *Batch) Partition() int32 { return b.partition }

// Records yields the batch's records in order, leaving out those behind a record of the same key
// that was parked or held while iterating. A record that is yielded and not given a verdict is done.
func (b *Batch) Records() iter.Seq2[int, *Record] {
	return func(yield func(int, *Record) bool) {
		for i, r := range b.records {
			if b.blocked[string(r.Key)] {
				b.results[i].Behind = true
				continue
			}
			if !yield(i, r) {
				return
			}
		}
	}
}

// Emit adds a record to produce for record i. Outputs of one key are produced in the order of Emit.
func (b *Batch) Emit(i int, outs ...Out) { b.results[i].Outs = append(b.results[i].Outs, outs...) }

// Give gives record i a verdict: Skip, Hold or Park. Its outputs are dropped, and with Hold and
// Park the later records of its key queue behind it.
func (b *Batch) Give(i int, err error) {
	v := verdict.Of(err)
	b.results[i] = Result{Verdict: v}
	if v != nil && v.Kind != verdict.Skip {
		b.blocked[string(b.records[i].Key)] = true
	}
}

// Commit registers rows to write in the transaction that moves the offset. fn sees the batch's
// transaction after the compare has matched; it must not call anything but tx.
func (b *Batch) Commit(fn func(ctx context.Context, tx pgx.Tx) error) {
	b.commits = append(b.commits, fn)
}

// KeyedHandler handles records one at a time per key, different keys side by side: API adapters.
//
// Plan only reads. Apply makes one call; an unmarked error of it is a doubt (protocol.md 30).
// Confirm reads back an effect of class C in doubt (protocol.md 35). All three are called
// concurrently for different keys, never for one key.
type KeyedHandler interface {
	Plan(ctx context.Context, r *Record) ([]ledger.Effect, error)
	Apply(ctx context.Context, r *Record, f ledger.Effect) (ledger.Receipt, error)
	Confirm(ctx context.Context, r *Record, f ledger.Effect) (ledger.Outcome, error)
}
