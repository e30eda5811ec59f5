package wire

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/avro/schema"
)

const (
	bombTime  = 50 * time.Millisecond * slowness
	bombBytes = 32 << 20
)

// zigzag is a long as Avro writes it.
func zigzag(v int64) []byte { return binary.AppendVarint(nil, v) }

// hostile is ContactChanged as a newer writer would have it, with a field that this build skips:
// hamba alone reads those without any limit.
func hostile(t *testing.T, typ string) string {
	t.Helper()
	text := schema.All()[string(event.TypeContactChanged)]
	end := strings.LastIndex(text, "]")
	return text[:end] + `,{"name":"later","type":` + typ + `,"default":[],"doc":"d"}` + text[end:]
}

// contactOf is an empty message, and where its array of e-mails begins.
func contactOf(t *testing.T, c *Codec) (value []byte, emails int) {
	t.Helper()
	m := &event.ContactChanged{Contact: event.Contact{Emails: []string{"@"}}}
	one, err := c.AppendEncode(t.Context(), nil, topicOf, m)
	require.NoError(t, err)
	value, err = c.AppendEncode(t.Context(), nil, topicOf, &event.ContactChanged{})
	require.NoError(t, err)
	return value, bytes.Index(one, []byte("\x02\x02@"))
}

// Not parallel, so that nothing else allocates while it measures.
func TestBombsCostNoTimeAndNoMemory(t *testing.T) { //nolint:paralleltest // see above
	c := newCodec(t)
	contact, emails := contactOf(t, c)
	after := func(parts ...[]byte) []byte {
		return append(bytes.Clone(contact[:emails]), bytes.Join(parts, nil)...)
	}
	skipped := func(typ string, body ...[]byte) func() error {
		d := c.decoderOf(hostile(t, typ))
		value := append(bytes.Clone(contact[frameBytes:]), bytes.Join(body, nil)...)
		return func() error { _, err := d.decode(value); return err }
	}
	decode := func(value []byte) func() error {
		return func() error { _, err := c.Decode(t.Context(), value); return err }
	}
	items := bytes.Repeat([]byte{2, 0}, itemsMax+1) // blocks of one empty text
	for name, bomb := range map[string]func() error{
		"array of 2^33 texts":         decode(after(zigzag(1 << 33))),
		"array of 2^30 texts":         decode(after(zigzag(1<<30), []byte{0})),
		"array of MinInt64 texts":     decode(after(zigzag(-1<<63), zigzag(1))),
		"array of -2^40 texts":        decode(after(zigzag(-1<<40), zigzag(2), []byte{0, 0})),
		"text of 2^33 bytes":          decode(after(zigzag(1), zigzag(1<<33))),
		"blocks of one item":          decode(after(items)),
		"skipped array of 2^40 texts": skipped(`{"type":"array","items":"string"}`, zigzag(1<<40)),
		"skipped array of 2^33 nulls": skipped(`{"type":"array","items":"null"}`, zigzag(1<<33), []byte{0}),
		"skipped map of 2^40 texts":   skipped(`{"type":"map","values":"string"}`, zigzag(1<<40)),
		"skipped array in array": skipped(
			`{"type":"array","items":{"type":"array","items":"int"}}`, zigzag(1), zigzag(1<<33)),
		"skipped array of empty records": skipped(
			`{"type":"array","items":{"type":"record","name":"E","fields":[]}}`, zigzag(1<<40)),
	} {
		err := within(t, name, bomb)
		require.ErrorIs(t, err, ErrPoison, name)
	}
}

// within tries until one run keeps to the time, since other processes take the processor meanwhile;
// no run may take more memory.
func within(t *testing.T, name string, do func() error) error {
	t.Helper()
	const tries = 50
	var before, after runtime.MemStats
	var err error
	best := time.Hour
	for range tries {
		runtime.ReadMemStats(&before)
		started := time.Now()
		err = do()
		best = min(best, time.Since(started))
		runtime.ReadMemStats(&after)
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(bombBytes), name)
		if best <= bombTime {
			return err
		}
	}
	require.Failf(t, "too slow", "%s took %s at best", name, best)
	return err
}

// What passes the walk is bounded, too: the most items, each as large in memory and as small on the
// wire as the schemas allow.
func TestLargestAcceptedMessagesStayWithinTheBound(t *testing.T) { //nolint:paralleltest // measures memory
	c := newCodec(t)
	deal := &event.DealChanged{Deal: sound("")}
	for range itemsMax {
		deal.Deal.Participants = append(deal.Deal.Participants, event.Participant{
			Role: event.ParticipantRoleOther, Contact: event.Contact{Address: &event.Address{}},
		})
	}
	payees := &event.CommissionChanged{Deal: sound("")}
	for range itemsMax {
		payee := event.Payee{BasisPoints: new(int32), Amount: &event.Money{}}
		payees.Commission.Split = append(payees.Commission.Split, payee)
	}
	snapshot := &event.VendorSnapshot{Parts: []event.Part{{Body: make([]byte, bytesBytesMax-1024)}}}
	values := map[string][]byte{}
	for name, m := range map[string]event.Message{"participants": deal, "payees": payees, "body": snapshot} {
		value, err := c.AppendEncode(t.Context(), nil, topicOf, m)
		require.NoError(t, err)
		values[name] = value
	}
	contact, emails := contactOf(t, c)
	blocks := bytes.Repeat([]byte{2, 0}, itemsMax) // each of one empty text
	values["blocks"] = append(append(bytes.Clone(contact[:emails]), blocks...), contact[emails:]...)
	for name, value := range values {
		require.NoError(t, within(t, name, func() error { _, err := c.Decode(t.Context(), value); return err }), name)
	}
}
