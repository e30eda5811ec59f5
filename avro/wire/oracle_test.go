package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/hamba/avro/v2"
	"github.com/stretchr/testify/require"
	twmb "github.com/twmb/avro"

	"conveyance/avro/event"
	"conveyance/avro/schema"
)

const (
	// recordsPerType is how many generated records of each type both codecs must agree on.
	recordsPerType = 10_000 / slowness
	// cutsPerType is how many records of each type are cut at every byte.
	cutsPerType = 100 / slowness
	// mutationsPerType is how many damaged records of each type both codecs judge.
	mutationsPerType = 20_000 / slowness
)

// Agreement is told by bytes: the oracle writes again what either codec read, and nothing may differ
// from what ours had written.
func TestCodecAgreesWithOracleOnGeneratedRecords(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	for _, typ := range event.Types() {
		t.Run(string(typ), func(t *testing.T) {
			t.Parallel()
			oracle := twmb.MustParse(schema.All()[string(typ)])
			g := newGenerator(t, 7)
			var ours, theirs []byte
			for range recordsPerType {
				var err error
				ours, err = c.AppendEncode(t.Context(), ours[:0], topicOf, g.message(typ))
				require.NoError(t, err)

				byOracle, _ := event.New(typ)
				rest, err := oracle.Decode(ours[frameBytes:], byOracle)
				require.NoError(t, err)
				require.Empty(t, rest)
				theirs, err = oracle.AppendEncode(theirs[:0], byOracle)
				require.NoError(t, err)
				sameBytes(t, ours[frameBytes:], theirs)

				read, err := c.Decode(t.Context(), ours)
				require.NoError(t, err)
				theirs, err = oracle.AppendEncode(theirs[:0], read)
				require.NoError(t, err)
				sameBytes(t, ours[frameBytes:], theirs)
			}
		})
	}
}

// sameBytes is require.Equal, without its cost where all is well.
func sameBytes(t *testing.T, want, got []byte) {
	t.Helper()
	if !bytes.Equal(want, got) {
		require.Equal(t, want, got)
	}
}

func TestDecodedMessageEqualsTheEncodedOne(t *testing.T) {
	t.Parallel()
	c, g := newCodec(t), newGenerator(t, 11)
	for _, typ := range event.Types() {
		for range 200 {
			m := g.message(typ)
			value, err := c.AppendEncode(t.Context(), nil, topicOf, m)
			require.NoError(t, err)
			read, err := c.Decode(t.Context(), value)
			require.NoError(t, err)
			require.Equal(t, m, read)
		}
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	for _, typ := range event.Types() {
		t.Run(string(typ), func(t *testing.T) {
			t.Parallel()
			g := newGenerator(t, 13)
			for range cutsPerType {
				value, err := c.AppendEncode(t.Context(), nil, topicOf, g.message(typ))
				require.NoError(t, err)
				for n := range value {
					if _, err := c.Decode(t.Context(), value[:n]); err == nil {
						require.Failf(t, "a truncation was accepted", "%d of %d bytes", n, len(value))
					} else if n%97 == 0 {
						require.ErrorIs(t, err, ErrPoison)
					}
				}
				_, err = c.Decode(t.Context(), append(value, 0))
				require.ErrorIs(t, err, ErrPoison, "a byte too many")
			}
		})
	}
}

func TestWhatIsAcceptedOfDamagedRecordsTheOracleReadsAlike(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	for _, typ := range event.Types() {
		t.Run(string(typ), func(t *testing.T) {
			t.Parallel()
			oracle := twmb.MustParse(schema.All()[string(typ)])
			g := newGenerator(t, 17)
			var value []byte
			accepted := 0
			for i := range mutationsPerType {
				if i%20 == 0 {
					var err error
					value, err = c.AppendEncode(t.Context(), nil, topicOf, g.message(typ))
					require.NoError(t, err)
				}
				damaged := damage(g.Rand, value)
				if agree(t, c, oracle, typ, damaged) {
					accepted++
				}
			}
			require.NotZero(t, accepted, "damage within a text leaves a message")
		})
	}
}

// agree says whether ours accepts a value, and fails where the oracle then does not, or reads it
// otherwise.
func agree(t *testing.T, c *Codec, oracle *twmb.Schema, typ event.Type, value []byte) bool {
	t.Helper()
	read, err := c.Decode(t.Context(), value)
	if err != nil || read.Type() != typ {
		return false
	}
	byOracle, _ := event.New(typ)
	rest, err := oracle.Decode(value[frameBytes:], byOracle)
	require.NoError(t, err)
	require.Empty(t, rest)
	want, err := oracle.Encode(byOracle)
	require.NoError(t, err)
	got, err := oracle.Encode(read)
	require.NoError(t, err)
	sameBytes(t, want, got)
	return true
}

func damage(r *rand.Rand, value []byte) []byte {
	out := bytes.Clone(value)
	for range 1 + r.IntN(3) {
		i := frameBytes + r.IntN(len(out)-frameBytes)
		switch r.IntN(4) {
		case 0:
			out[i] = byte(r.Uint32())
		case 1:
			out[i] ^= 1 << r.IntN(8)
		case 2:
			out = append(out[:i], append([]byte{byte(r.Uint32())}, out[i:]...)...)
		case 3:
			if len(out) > frameBytes+1 {
				out = append(out[:i], out[i+1:]...)
			}
		}
	}
	return out
}

// Other writers cut arrays into blocks, and state the blocks' sizes.
func TestBlocksOfOtherWritersAreRead(t *testing.T) {
	t.Parallel()
	c, g := newCodec(t), newGenerator(t, 19)
	for _, config := range []avro.Config{{BlockLength: 1}, {BlockLength: 1, DisableBlockSizeHeader: true}, {}} {
		api := config.Freeze()
		for _, typ := range event.Types() {
			for range 100 {
				m := g.message(typ)
				body, err := api.Marshal(g.schemas[typ], m)
				require.NoError(t, err)
				value, err := c.AppendEncode(t.Context(), nil, topicOf, m)
				require.NoError(t, err)
				read, err := c.Decode(t.Context(), append(value[:frameBytes], body...))
				require.NoError(t, err)
				require.Equal(t, m, read)
			}
		}
	}
}
