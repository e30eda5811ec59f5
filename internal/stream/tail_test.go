package stream_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/topic"
	"conveyance/internal/ledger"
)

// Rule 49: a person's word about an effect in the lost tail is the last one.
func TestUnknownOutcomeInALostTailIsSettledByAPersonsWord(t *testing.T) {
	t.Parallel()
	for name, inPlace := range map[string]bool{"in place": true, "send again": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			v := &vendor{class: ledger.ClassD, facts: true}
			r := w.keyed(v)
			w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "1", 2))
			w.atWatermark(2)
			r.stop()
			w.exec("DELETE FROM {schema}.ledger")
			w.exec("UPDATE {schema}.consumer_offsets SET next_offset = 0")
			w.keyed(v)
			w.atWatermark(2)
			for n := range 2 { // one record after the other comes to its turn
				w.eventually("the question", func() bool {
					return get[int64](w, "SELECT count(*) FROM {schema}.queued_key WHERE cause = 'outcome unknown' AND NOT release_wanted") == 1 &&
						get[int64](w, "SELECT count(*) FROM {schema}.queued_record WHERE state = 1") == int64(2-n)
				})
				key := get[string](w, "SELECT key_id FROM {schema}.queued_key")
				require.NoError(t,
					ledger.NewQueue(w.pool, w.schema).Settle(t.Context(), topic.Deals, key, inPlace, "ops", "looked"))
				w.eventually("the answer", func() bool {
					return get[int64](w, "SELECT count(*) FROM {schema}.queued_record WHERE state = 1") == int64(1-n)
				})
			}
			w.emptyQueue()
			want := lines("lakeshore/1", 1, 2)
			if !inPlace {
				want = append(want, want...)
			}
			require.Equal(t, want, v.called())
		})
	}
}

// Rule 49: an owner that lives through a failover has nothing to write where nothing comes in, and looks.
func TestOwnerWithoutRecordsNoticesThatPostgresLostItsTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	v := &vendor{class: ledger.ClassC, facts: true}
	w.keyed(v)
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "2", 1))
	w.atWatermark(2)
	w.eventually("the mirror", func() bool { return w.mirrored() == `2 {"timeline":1}` })
	w.exec("DELETE FROM {schema}.ledger")
	w.exec("UPDATE {schema}.consumer_offsets SET next_offset = 0, seq = seq - 1")
	w.atWatermark(2)
	require.Len(t, v.called(), 2, "nothing is called again")
	require.NotZero(t, v.reads)
	require.EqualValues(t, 2, get[int64](w, "SELECT epoch FROM {schema}.consumer_offsets"), "it claimed anew")
}
