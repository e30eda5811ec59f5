package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
	twmb "github.com/twmb/avro"

	"conveyance/avro/event"
	"conveyance/avro/schema"
)

// FuzzDecode: whatever the bytes, Decode answers with a message or with poison, and what it takes
// the oracle takes alike, and both write it alike; what it refuses the oracle refuses, or it is named why.
func FuzzDecode(f *testing.F) {
	c, g := newCodec(f), newGenerator(f, 31)
	oracles := map[event.Type]*twmb.Schema{}
	for i, typ := range event.Types() {
		oracles[typ] = twmb.MustParse(schema.All()[string(typ)])
		value, err := c.AppendEncode(f.Context(), nil, topicOf, g.message(typ))
		require.NoError(f, err)
		f.Add(uint8(i), value[frameBytes:])
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		typ := event.Types()[int(which)%len(event.Types())]
		e, err := c.encoder(typ)
		require.NoError(t, err)
		id, err := c.source.id(t.Context(), "", e.text)
		require.NoError(t, err)
		value := append(appendFrame(nil, id), body...)
		_ = whyStricter(t, c, oracles[typ], typ, value)
		if !agree(t, c, oracles[typ], typ, value) {
			_, err := c.Decode(t.Context(), value)
			require.ErrorIs(t, err, ErrPoison)
			return
		}
		m, err := c.Decode(t.Context(), value)
		require.NoError(t, err)
		_, err = c.AppendEncode(t.Context(), nil, topicOf, m)
		require.NoError(t, err, "what was read can be written")
	})
}

// FuzzFrame: any value at all is a message, poison, or nothing else without a registry.
func FuzzFrame(f *testing.F) {
	c := newCodec(f)
	f.Add([]byte(nil))
	f.Add([]byte{0, 0, 0, 0, 1})
	f.Add([]byte(`{"id":1}`))
	f.Add(value(3))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := c.Decode(t.Context(), b)
		if err != nil {
			require.ErrorIs(t, err, ErrPoison)
			return
		}
		require.NotNil(t, m)
		again, err := c.AppendEncode(t.Context(), nil, topicOf, m)
		require.NoError(t, err)
		require.Equal(t, b[:frameBytes], again[:frameBytes])
	})
}
