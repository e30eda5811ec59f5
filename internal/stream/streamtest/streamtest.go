// Package streamtest runs a batch handler on records without an engine: for the tests of handlers.
package streamtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
)

// Record makes a live record of partition 0; its time is offset seconds after the start of 2026.
func Record(topic string, offset int64, key string, m event.Message) *stream.Record {
	return &stream.Record{
		Topic: topic, Offset: offset, Key: []byte(key), Message: m, Attempt: 1,
		Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(offset) * time.Second),
	}
}

// Handle gives records to h as one batch and, where h returns no error, runs the commits that it
// registered in one transaction. It returns the batch, whose Results say what each record came to,
// and h's error or the transaction's.
func Handle(
	ctx context.Context,
	h stream.BatchHandler,
	pool *pgxpool.Pool,
	records ...*stream.Record,
) (*stream.Batch, error) {
	b := stream.NewBatchOf(records[0].Topic, records[0].Partition, records...)
	if err := h.Handle(ctx, b); err != nil {
		return b, err
	}
	return b, postgres.Tx(ctx, pool, func(tx pgx.Tx) error { return b.Write(ctx, tx) })
}

// MustHandle is Handle for a batch that must go well.
func MustHandle(t testing.TB, h stream.BatchHandler, pool *pgxpool.Pool, records ...*stream.Record) *stream.Batch {
	t.Helper()
	b, err := Handle(t.Context(), h, pool, records...)
	require.NoError(t, err)
	return b
}

// Outs are the records that b would produce, in order.
func Outs(b *stream.Batch) []stream.Out {
	var outs []stream.Out
	for _, r := range b.Results() {
		outs = append(outs, r.Outs...)
	}
	return outs
}
