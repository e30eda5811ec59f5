package stream

import (
	"context"
)

// Publisher produces records outside a batch: snapshots of fetch, webhooks of ingest.
type Publisher struct{}

// Publish encodes and produces outs in order and returns when all of them are acknowledged by all
// in-sync replicas (acks=all). After the first failed record nothing more of outs is sent. The
// context ends the wait, not a record in flight: on an error the outcome of each record is unknown.
func (p *Publisher) Publish(ctx context.Context, outs ...Out) error { return nil }
