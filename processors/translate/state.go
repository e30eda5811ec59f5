package translate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/klauspost/compress/s2"

	"conveyance/avro/event"
	"conveyance/internal/fault"
	"conveyance/internal/postgres"
	"conveyance/producers"
)

// laneLive is the lane that counts revisions. Other lanes look them up (protocol.md 15).
const laneLive = "live"

// held is what is known of one record: a row of translate_state.
type held struct {
	version, token, goneToken int64
	revision                  int64
	digest                    string // of the accepted content; empty while gone
	firstReadAt, readAt       time.Time
	body                      []byte           // the last snapshot with content, packed
	facts                     *producers.Facts // what it says, where this process mapped it; then body may be nil
	cost                      int              // bytes that remembering it takes
	claims                    int64            // digest of the deal's claims as they were written; 0 = none
}

// gone says whether the last accepted snapshot was a tombstone.
func (h held) gone() bool { return h.goneToken > 0 && h.goneToken == h.token }

// takes says whether a snapshot is newer than what is held, by protocol.md 16 and nothing else: the
// topic may carry old after new (22).
func (h held) takes(s *event.VendorSnapshot) bool {
	switch {
	case fault.Broken("LWW by local clock"):
		return true
	case s.Gone:
		return s.Token > h.token
	}
	return s.Token > h.goneToken && (s.Version > h.version || (s.Version == h.version && s.Token > h.token))
}

// take makes an accepted snapshot the one that is held, and counts where its content is another.
func (h *held) take(s *event.VendorSnapshot) (changed bool) {
	digest := s.Digest
	if s.Gone {
		digest = ""
	}
	changed = digest != h.digest
	h.version, h.token, h.digest, h.readAt = s.Version, s.Token, digest, s.ReadAt
	if s.Gone {
		h.version, h.goneToken = 0, s.Token
	}
	if h.firstReadAt.IsZero() {
		h.firstReadAt = s.ReadAt
	}
	if changed {
		h.revision++
	}
	return changed
}

// row is what a batch makes of one record.
type row struct {
	key string
	held
	changed bool   // to be written
	value   []byte // the snapshot that replaces the one that is kept, as it stands in the log; nil = none
	size    int    // of it, packed
}

// pack compresses the new snapshots of rows into one value, behind one another. s2 halves JSON at a
// gigabyte a second.
func pack(rows []*row) []byte {
	total := 0
	for _, r := range rows {
		total += len(r.value)
	}
	out := make([]byte, 0, total/packedFactor)
	for _, r := range rows {
		if r.value == nil {
			continue
		}
		out = slices.Grow(out, s2.MaxEncodedLen(len(r.value)))
		r.size = len(s2.Encode(out[len(out):cap(out)], r.value))
		out = out[:len(out)+r.size]
	}
	return out
}

// unpack is the inverse of pack, for one snapshot.
func unpack(body []byte) ([]byte, error) {
	value, err := s2.Decode(nil, body)
	if err != nil {
		return nil, fmt.Errorf("unpacking a snapshot: %w", err)
	}
	return value, nil
}

// revised is a snapshot that became a revision.
type revised struct {
	key             string
	token, revision int64
}

// store is where what is held lies; tables is the one that is Postgres.
type store interface {
	load(ctx context.Context, keys []string) (map[string]held, error)
	save(ctx context.Context, tx pgx.Tx, rows []*row, bodies []byte, revisions []revised) error
	drift(ctx context.Context, tx pgx.Tx, found map[drifted]int) error
}

type tables struct {
	pool   *pgxpool.Pool
	schema string
}

// load reads the rows of keys, in one statement.
func (t tables) load(ctx context.Context, keys []string) (map[string]held, error) {
	rows, err := t.pool.Query(ctx, postgres.In(t.schema, sqlLoad), laneLive, keys)
	if err != nil {
		return nil, fmt.Errorf("reading the state of %d records: %w", len(keys), postgres.Classify(err))
	}
	out := make(map[string]held, len(keys))
	var key string
	var h held
	_, err = pgx.ForEachRow(rows, []any{
		&key, &h.version, &h.token, &h.goneToken, &h.revision, &h.digest, &h.body, &h.firstReadAt, &h.readAt, &h.claims,
	}, func() error {
		out[key] = h
		h.body = nil // the next scan must not write into it
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the state of %d records: %w", len(keys), postgres.Classify(err))
	}
	return out, nil
}

// save writes rows, and which fetch became which revision, in one round trip. Bodies go as one value
// that is cut up there: an array of them costs pgx many times their size. They go last, or the buffer
// that holds them would grow once more.
func (t tables) save(ctx context.Context, tx pgx.Tx, rows []*row, bodies []byte, revisions []revised) error {
	b := &pgx.Batch{}
	if n := len(revisions); n > 0 {
		names, of, numbers := make([]string, n), make([]int64, n), make([]int64, n)
		for i, r := range revisions {
			names[i], of[i], numbers[i] = r.key, r.token, r.revision
		}
		b.Queue(postgres.In(t.schema, sqlRevisions), names, of, numbers)
	}
	n := len(rows)
	keys, digests := make([]string, n), make([]string, n)
	versions, tokens, gones, counts := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	claims := make([]int64, n)
	firsts, reads := make([]time.Time, n), make([]time.Time, n)
	at, sizes := make([]int32, n), make([]int32, n)
	next := 1
	for i, r := range rows {
		keys[i], digests[i] = r.key, r.digest
		versions[i], tokens[i], gones[i], counts[i] = r.version, r.token, r.goneToken, r.revision
		firsts[i], reads[i], claims[i] = r.firstReadAt, r.readAt, r.claims
		at[i], sizes[i] = int32(next), int32(r.size) //nolint:gosec // G115: a batch is a few MiB
		next += r.size
	}
	b.Queue(postgres.In(t.schema, sqlSave),
		laneLive, keys, versions, tokens, gones, counts, digests, at, sizes, firsts, reads, bodies, claims)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("storing the state of %d records and %d revisions: %w", n, len(revisions), err)
	}
	return nil
}
