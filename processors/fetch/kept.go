package fetch

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/postgres"
)

// A webhook may hold a record but for what seldom changes (producers.Completer). What it lacks is kept
// with what is held, and fills it, so that a vendor is not asked again for what it has told.
//
// That what is kept is not used for a state in which it is another rests on this:
//
//   - It is a part of what is held: written by the same statement as version and digest, only by the
//     fetch that started last (protocol.md 20), and gone with a tombstone. So it is as old as the
//     version of its row says, or, where that came as a completed webhook, as the version before.
//   - A delivery after which it may be another, a correction, is a hint like any other; there is no
//     second way to say so. A hint makes the row dirty until a read that began after it is recorded
//     (protocol.md 19), and that read brings what is kept from then on. While a row is dirty, nothing
//     is completed from it. A hint of the same batch counts, before the fact or behind it, and so does
//     one that comes between the look at what is kept and the start of the fact: the start compares
//     the counts of hints. A read in flight may have been answered before the correction: its row is
//     dirty even after it is recorded.
//   - What came completed goes the way of protocol.md 18b: it starts only where no fetch is open and
//     its version is higher, and loses to a fetch that starts after it.
//
// What is left is a correction whose delivery is handled after one of a later change. Nothing here can
// know of it: what was completed is superseded by the read that the correction brings, and the
// vendor's folder keeps only what that does not falsify.

// keptBytesMax bounds what is kept of a record: a thousand names. Rows are rewritten with every hint,
// so that what is larger is read instead.
const keptBytesMax = 64 << 10

// keep returns what is kept of a record that is held from now on; nil = nothing.
func (f *Fetch) keep(s *event.VendorSnapshot) []byte {
	c := f.vendors[s.Resource.Vendor].Completer
	if c == nil || s.Gone {
		return nil
	}
	if kept := c.Keep(*s); len(kept) <= keptBytesMax {
		return kept
	}
	return nil
}

// counts are how many hints had come for a resource, by its key, when something was concluded from its
// row.
type counts map[string]int64

// fill completes records that came with webhooks from what is kept of them. Those that it cannot
// complete are hints, as are those that hints of the same batch name.
func (f *Fetch) fill(
	ctx context.Context, partials []delivered, named []hint,
) (whole []delivered, seen counts, lacking []hint, err error) {
	if len(partials) == 0 {
		return nil, nil, nil, nil
	}
	dirty := make(map[event.Resource]bool, len(named))
	for _, h := range named {
		dirty[h.resource] = true
	}
	keys := make([]string, len(partials))
	for i, p := range partials {
		keys[i] = p.fact.Resource.Key()
	}
	held, seen, err := f.store.kept(ctx, keys)
	if err != nil {
		return nil, nil, nil, err
	}
	for i, p := range partials {
		r := p.fact.Resource
		c, kept := f.vendors[r.Vendor].Completer, held[keys[i]]
		if c != nil && kept != nil && !dirty[r] {
			if filled, ok := c.Complete(p.fact, kept); ok {
				p.fact.Parts, p.fact.Digest = filled.Parts, filled.Digest // the rest is the delivery's
				whole = append(whole, p)
				continue
			}
		}
		lacking = append(lacking, hint{resource: r, lane: laneOf(&p.fact), wanted: p.fact.Version, by: "webhook"})
	}
	f.metrics.lacked(partials[0].fact.Resource.Vendor, len(lacking))
	return whole, seen, lacking, nil
}

// kept returns by key what is kept of records that nothing waits to read, and their counts of hints.
func (s store) kept(ctx context.Context, keys []string) (map[string][]byte, counts, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	held, seen := map[string][]byte{}, counts{}
	rows, err := s.pool.Query(ctx, postgres.In(s.schema, sqlKept), keys)
	if err == nil {
		var key string
		var hints int64
		var kept []byte
		_, err = pgx.ForEachRow(rows, []any{&key, &hints, &kept}, func() error {
			held[key], seen[key] = kept, hints
			kept = nil // the next row's are other bytes
			return nil
		})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("looking up what is kept of %d records: %w", len(keys), postgres.Classify(err))
	}
	return held, seen, nil
}
