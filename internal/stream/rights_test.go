package stream_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"conveyance/avro/topic"
)

// refusals are more than a batch has attempts, after which its records would be put aside one by one.
const refusals = 5

func TestMissingRightToWriteStallsAndSpendsNoAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, topic.Deals, topic.Contacts)
	c := newCopier(w)
	c.emit = true
	w.publish(deal("lakeshore", "1", 1), deal("lakeshore", "2", 1))
	w.kafka.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: prefix + topic.Contacts, Err: kerr.TopicAuthorizationFailed, Count: refusals,
	})
	w.batch(c)
	w.atWatermark(2)
	require.Zero(t, get[int](w, "SELECT count(*)::int FROM {schema}.queued_record"), "nothing was put aside")
	require.Len(t, w.contacts(), 4)
}

func TestPartitionThatMayNotBeReadIsReadOnceItMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := newCopier(w)
	w.publish(deal("lakeshore", "1", 1))
	w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: prefix + topic.Deals, Err: kerr.TopicAuthorizationFailed, Count: 1})
	w.batch(c)
	w.atWatermark(1)
	require.Equal(t, []string{"lakeshore/1#1"}, w.copied())
}
