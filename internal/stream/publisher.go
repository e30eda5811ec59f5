package stream

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"conveyance/internal/fault"
	"conveyance/internal/kafka"
)

// Publisher produces records outside a batch: snapshots of fetch, webhooks of ingest. It is safe
// for concurrent use.
type Publisher struct {
	cl  *kgo.Client
	enc encoder
}

// publisherBytes bounds what waits for acknowledgement: beyond it Publish blocks, and ingest sheds.
const publisherBytes = 32 << 20

// NewPublisher connects lazily; prefix stands before every topic.
func NewPublisher(prefix string, deps Deps) (*Publisher, error) {
	enc := encoder{codec: deps.Codec, prefix: prefix}
	cl, err := kgo.NewClient(append(producing(deps.Kafka, enc),
		kgo.MaxBufferedBytes(publisherBytes), // the client's default is no limit
		kgo.ProducerLinger(0),                // a webhook's sender waits; batches form while one is under way
	)...)
	if err != nil {
		return nil, fmt.Errorf("making the publisher's client: %w", err)
	}
	return &Publisher{cl: cl, enc: enc}, nil
}

// clientID says whose connections they are, in the broker's log.
const clientID = "conveyance"

// producing are the options of everything that produces.
func producing(base []kgo.Opt, enc encoder) []kgo.Opt {
	return append(append([]kgo.Opt{}, base...),
		kgo.ClientID(clientID),
		kgo.ProduceRequestTimeout(kafka.ProduceTimeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),                    // acknowledged is durable (W1, W33)
		kgo.ProducerBatchCompression(kgo.SnappyCompression()), // zstd's encoders take more memory than they save here
		kgo.ProducerBatchMaxBytesFn(enc.batchMax),             // as the topics' max.message.bytes
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),  // Kafka's own hash of keys: any client finds a key's partition
		kgo.UnknownTopicRetries(3),                            // a missing topic is said soon, not after minutes
		kgo.MetadataMaxAge(metadataAge),                       // a topic that is made later is found
		// Neither a delivery timeout nor a retry limit: giving a record up leaves its outcome unknown.
	)
}

// Publish encodes and produces outs in order and returns when all of them are acknowledged by all
// in-sync replicas (acks=all). After the first failed record nothing more of its key is sent, and
// of other keys only what was under way beside it. The context ends the wait, not a record in
// flight: on an error the outcome of each record is unknown.
func (p *Publisher) Publish(ctx context.Context, outs ...Out) error {
	records := make([]*kgo.Record, len(outs))
	for i, o := range outs {
		r, err := p.enc.encode(ctx, nil, o)
		if err != nil {
			return fmt.Errorf("publishing to %s: %w", o.Topic, err)
		}
		records[i] = r
	}
	for len(records) > 0 {
		n := wave(records)
		if err := p.send(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// Send encodes out and hands it over without waiting for anything but, the first time, the registry;
// ctx bounds that alone. On an error nothing was handed over. Else done is called once: with nil when
// all in-sync replicas have the record, and with an error where its outcome is unknown or, since
// publisherBytes were in flight already, it was not sent. done runs on the client's own goroutine and
// must not block. Records of one key are written in the order of their calls.
func (p *Publisher) Send(ctx context.Context, out Out, done func(error)) error {
	r, err := p.enc.encode(ctx, nil, out)
	if err != nil {
		return fmt.Errorf("publishing to %s: %w", out.Topic, err)
	}
	inFlight := context.WithoutCancel(ctx) // W3
	if fault.Broken("r.Context() into Produce") {
		inFlight = ctx
	}
	p.cl.TryProduce(inFlight, r, landed(done))
	return nil
}

// wave is how many records may be under way together: up to the second one of a key.
func wave(records []*kgo.Record) int {
	seen := map[string]bool{}
	for i, r := range records {
		at := r.Topic + "\x00" + string(r.Key)
		if len(r.Key) > 0 && seen[at] {
			return i
		}
		seen[at] = true
	}
	return len(records)
}

func (p *Publisher) send(ctx context.Context, records []*kgo.Record) error {
	results := make(chan error, len(records))
	for _, r := range records {
		p.cl.Produce(context.WithoutCancel(ctx), r, landed(func(err error) { results <- err })) // W3
	}
	for range records {
		select {
		case err := <-results:
			if err != nil {
				return refused(fmt.Errorf("publishing to %s: %w", records[0].Topic, err))
			}
		case <-ctx.Done():
			return fmt.Errorf("publishing to %s: %w", records[0].Topic, context.Cause(ctx))
		}
	}
	return nil
}

// Close ends the connections. What is in flight is given up: Publish returns and done is called.
func (p *Publisher) Close() { p.cl.Close() }
