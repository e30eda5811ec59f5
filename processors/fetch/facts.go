package fetch

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/producers"
)

// incoming are records that came by themselves, with a webhook or in a list, and what has become of
// them so far (protocol.md 18b).
type incoming struct {
	begun     []*event.VendorSnapshot // started like fetches, with their tokens: to publish, then finish
	hints     []hint                  // may not be taken as the fact: a worker reads them
	unchanged int                     // what is held already, to the byte
}

// begin starts those of facts that may be taken, in a transaction of its own: their tokens are
// committed before anything is published. Where the caller dies afterwards, the rows stay open, and
// the same record, coming again, is a hint.
//
//	fetch open or left unfinished · gone · version not higher    a hint
//	same version and digest as what is held, nothing open        nothing: it is held already
//	seen, and a hint since                                       a hint
//	else                                                         started like a fetch
//
// seen are the counts of hints of those that were completed from their rows.
func (f *Fetch) begin(
	ctx context.Context, facts []event.VendorSnapshot, seen counts, by string,
) (incoming, error) {
	var in incoming
	best := map[string]*event.VendorSnapshot{}
	var keys []string
	asHint := func(s *event.VendorSnapshot) {
		in.hints = append(in.hints, hint{resource: s.Resource, lane: laneOf(s), wanted: s.Version, by: by})
	}
	for i := range facts {
		s := &facts[i]
		f.complete(s)
		key := s.Resource.Key()
		other := best[key]
		switch {
		case s.Gone || snapshotBytes(s) > snapshotBytesMax:
			asHint(s) // a deletion is believed only when read; what is too large parks where it is read
		case other == nil:
			best[key], keys = s, append(keys, key)
		case s.Version > other.Version:
			asHint(other)
			best[key] = s
		default:
			asHint(s)
		}
	}
	if len(keys) == 0 {
		return in, nil
	}
	outcomes, err := f.store.begin(ctx, keys, best, seen)
	if err != nil {
		return in, err
	}
	for _, key := range keys {
		s, o := best[key], outcomes[key]
		switch {
		case o.token > 0:
			s.Token = o.token
			in.begun = append(in.begun, s)
		case o.same:
			in.unchanged++
		default:
			asHint(s)
		}
	}
	return in, nil
}

// complete fills what the vendor's folder left open.
func (f *Fetch) complete(s *event.VendorSnapshot) {
	if s.Gone {
		s.Parts, s.Version = nil, 0 // a deletion has no version: what comes after it starts anew
	}
	if s.Digest == "" || s.Gone {
		s.Digest = producers.Digest(s.Parts)
	}
	if s.ReadAt.IsZero() {
		s.ReadAt = f.cfg.Now()
	}
	s.ReadAt = s.ReadAt.UTC().Truncate(time.Millisecond)
}

func laneOf(s *event.VendorSnapshot) lane {
	if s.Lane == backfill.String() {
		return backfill
	}
	return live
}

type begun struct {
	token int64
	same  bool
}

func (s store) begin(
	ctx context.Context, keys []string, facts map[string]*event.VendorSnapshot, seen counts,
) (map[string]begun, error) {
	c := columnsOf(len(keys))
	hints := make([]int64, len(keys))
	for i, key := range keys {
		if n, completed := seen[key]; completed {
			hints[i] = n
		} else {
			hints[i] = -1
		}
		c.add(facts[key].Resource)
		c.numbers = append(c.numbers, facts[key].Version)
		c.texts = append(c.texts, facts[key].Digest)
	}
	out := make(map[string]begun, len(keys))
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := postgres.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, postgres.In(s.schema, sqlKnow), c.keys, c.tenants, c.vendors, c.accounts, c.kinds, c.ids)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, postgres.In(s.schema, sqlStartFacts), c.keys, c.numbers, c.texts, hints)
		if err != nil {
			return err
		}
		var key string
		var b begun
		_, err = pgx.ForEachRow(rows, []any{&key, &b.token, &b.same}, func() error {
			out[key] = b
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("starting %d records: %w", len(keys), postgres.Classify(err))
	}
	return out, nil
}

// finish records what was published, in the caller's transaction. A record whose row another fetch
// has started since is left to that fetch (protocol.md 20).
func (f *Fetch) finish(ctx context.Context, db execer, snaps []*event.VendorSnapshot) error {
	if len(snaps) == 0 {
		return nil
	}
	keys, digests, readAt := make([]string, len(snaps)), make([]string, len(snaps)), make([]time.Time, len(snaps))
	tokens, versions, kept := make([]int64, len(snaps)), make([]int64, len(snaps)), make([][]byte, len(snaps))
	for i, n := range snaps {
		kept[i] = f.keep(n)
		keys[i], tokens[i], versions[i], digests[i], readAt[i] = n.Resource.Key(), n.Token, n.Version, n.Digest, n.ReadAt
	}
	_, err := db.Exec(ctx, postgres.In(f.store.schema, sqlFinishFacts), keys, tokens, versions, digests, readAt, kept)
	if err != nil {
		return fmt.Errorf("recording %d records: %w", len(snaps), postgres.Classify(err))
	}
	return nil
}

// snapshotBytesMax leaves room in the largest message for what is not bodies: names, ids, headers.
const snapshotBytesMax = topic.SnapshotBytesMax - 16<<10

func snapshotBytes(s *event.VendorSnapshot) int {
	n := len(s.Resource.Key())
	for _, p := range s.Parts {
		n += len(p.Name) + len(p.Body) + 32
	}
	return n
}

func out(s *event.VendorSnapshot) stream.Out {
	return stream.Out{Topic: topic.Snapshots(s.Resource.Vendor), Key: []byte(s.Resource.Key()), Message: s}
}

// hinted says beside a snapshot what led to it.
func hinted(o stream.Out, by string, at time.Time) stream.Out {
	o.Headers = append(o.Headers,
		stream.Header{Key: event.HeaderHintBy, Value: []byte(by)},
		stream.Header{Key: event.HeaderHintTime, Value: at.UTC().AppendFormat(nil, time.RFC3339Nano)})
	return o
}
