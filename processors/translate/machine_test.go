package translate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/stream"
	"conveyance/internal/stream/streamtest"
	"conveyance/producers"
)

// reads draws what a fetcher read of one record over time, by token: the vendor changes it, now and
// then without moving its version, changes it back, deletes it and makes it again.
func reads(t *rapid.T) []*event.VendorSnapshot {
	var out []*event.VendorSnapshot
	version, content, there := int64(1), 0, true
	for token := range int64(rapid.IntRange(1, 12).Draw(t, "reads")) {
		switch rapid.IntRange(0, 9).Draw(t, "what happens") {
		case 0:
			there = false
		case 1, 2:
			there = true
			version++
		case 3, 4, 5, 6:
			version += int64(rapid.IntRange(0, 2).Draw(t, "version moves"))
			content = rapid.IntRange(0, 2).Draw(t, "content")
		}
		if there {
			out = append(out, read(version, token+1, status([]event.TransactionStatus{pre, under, closed}[content])))
		} else {
			out = append(out, tombstone(token+1))
		}
	}
	return out
}

// log draws an order in which snapshots stand in the log: an old owner's come late, some come twice.
func log(t *rapid.T, snapshots []*event.VendorSnapshot) []*event.VendorSnapshot {
	out := slices.Clone(snapshots)
	for range rapid.IntRange(0, 4).Draw(t, "repeated") {
		out = append(out, rapid.SampledFrom(snapshots).Draw(t, "again"))
	}
	return rapid.Permutation(out).Draw(t, "order")
}

func records(t require.TestingT, tr *Translator, snapshots []*event.VendorSnapshot) []*stream.Record {
	var out []*stream.Record
	for i, m := range snapshots {
		value, err := tr.codec.AppendEncode(context.Background(), nil, topic.Snapshots("plain"), m)
		require.NoError(t, err)
		r := streamtest.Record(topic.Snapshots("plain"), int64(i), m.Resource.Key(), m)
		r.Value = value
		out = append(out, r)
	}
	return out
}

func TestAnyOrderEndsInWhatWasReadLast(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		snapshots := reads(rt)
		shelf := newShelf()
		tr := onShelf(rt, shelf)
		for _, r := range records(rt, tr, log(rt, snapshots)) {
			if rapid.Bool().Draw(rt, "another owner") {
				tr.Forget(r.Topic, 0)
			}
			b := stream.NewBatchOf(r.Topic, 0, r)
			require.NoError(rt, tr.Handle(context.Background(), b))
			require.NoError(rt, b.Write(context.Background(), nil))
		}
		last, h := snapshots[len(snapshots)-1], shelf.rows[resource("1").Key()]
		require.Equal(rt, last.Token, h.token)
		require.Equal(rt, last.Gone, h.gone())
		if !last.Gone {
			require.Equal(rt, last.Version, h.version)
			require.Equal(rt, last.Digest, h.digest)
		}
	})
}

// TestCrashesRepeatEventsAndChangeNone runs one log undisturbed, and once more with batches of any
// size, attempts that produced and did not commit, and owners that come and go: what comes first of
// each id is the same, in the same order, and a repeat is the same to the byte.
func TestCrashesRepeatEventsAndChangeNone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		order := log(rt, reads(rt))
		calm := onShelf(rt, newShelf())
		var want []string
		for _, r := range records(rt, calm, order) {
			want = append(want, attempt(rt, calm, true, r)...)
		}
		shelf := newShelf()
		tr := onShelf(rt, shelf)
		var got []string
		for rest := records(rt, tr, order); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			commit := rapid.IntRange(0, 2).Draw(rt, "commit") > 0
			got = append(got, attempt(rt, tr, commit, rest[:n]...)...)
			if commit {
				rest = rest[n:]
			}
			switch rapid.IntRange(0, 3).Draw(rt, "then") {
			case 0:
				tr = onShelf(rt, shelf) // another process
			case 1:
				tr.Forget(topic.Snapshots("plain"), 0)
			default:
				if !commit {
					tr.Forget(topic.Snapshots("plain"), 0)
				}
			}
		}
		require.Equal(rt, want, first(got))
		revisions := map[int64]bool{}
		for r := range shelf.revisions {
			revisions[r.revision] = true
		}
		require.Len(rt, revisions, len(shelf.revisions), "a revision is one fetch's")
	})
}

// TestAnotherMappingKeepsEveryID translates one log by two mappings.
func TestAnotherMappingKeepsEveryID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		order := log(rt, reads(rt))
		today := onShelf(rt, newShelf())
		tomorrow := onShelf(rt, newShelf(), producers.Vendor{Name: "plain", Mapper: mended{}, Kinds: []string{"sale"}})
		rs := records(rt, today, order)
		a, b := ids(rt, today, rs), ids(rt, tomorrow, rs)
		require.Equal(rt, a, b)
	})
}

func ids(t require.TestingT, tr *Translator, rs []*stream.Record) []string {
	b := stream.NewBatchOf(rs[0].Topic, 0, rs...)
	require.NoError(t, tr.Handle(context.Background(), b))
	var out []string
	for _, e := range eventsOf(b) {
		out = append(out, e.Source().EventID)
	}
	return out
}

// attempt handles a batch, and returns what it would produce, as text.
func attempt(t require.TestingT, tr *Translator, commit bool, rs ...*stream.Record) []string {
	b := stream.NewBatchOf(rs[0].Topic, 0, rs...)
	require.NoError(t, tr.Handle(context.Background(), b))
	var out []string
	for _, o := range streamtest.Outs(b) {
		text, err := json.Marshal(o.Message)
		require.NoError(t, err)
		out = append(out, fmt.Sprintf("%s %s %s", o.Topic, o.Key, text))
	}
	if commit {
		require.NoError(t, b.Write(context.Background(), nil))
	}
	return out
}

// first drops what came before.
func first(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
