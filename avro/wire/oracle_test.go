package wire

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hamba/avro/v2"
	"github.com/stretchr/testify/require"
	twmb "github.com/twmb/avro"

	"conveyance/avro/event"
	"conveyance/avro/schema"
)

const (
	// recordsPerType is how many generated records of each type both codecs must agree on, and how many
	// damaged ones both must judge alike.
	recordsPerType = 10_000
	// cutsPerType is how many records of each type are cut at every byte.
	cutsPerType = 100 / slowness
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
			oracle := twmb.MustParse(schema.All()[string(typ)])
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
					if byOracle, _ := event.New(typ); n >= frameBytes {
						if _, err := oracle.Decode(value[frameBytes:n], byOracle); err == nil {
							require.Failf(t, "the oracle took a truncation", "%d of %d bytes", n, len(value))
						}
					}
				}
				_, err = c.Decode(t.Context(), append(value, 0))
				require.ErrorIs(t, err, ErrPoison, "a byte too many")
			}
		})
	}
}

func TestBothCodecsJudgeDamagedRecordsAlike(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	for _, typ := range event.Types() {
		t.Run(string(typ), func(t *testing.T) {
			t.Parallel()
			oracle := twmb.MustParse(schema.All()[string(typ)])
			g := newGenerator(t, 17)
			var value []byte
			taken, refused, stricter := 0, 0, map[string]int{}
			for i := range recordsPerType {
				if i%20 == 0 {
					var err error
					value, err = c.AppendEncode(t.Context(), nil, topicOf, g.message(typ))
					require.NoError(t, err)
				}
				damaged := damage(g.Rand, value)
				switch why := whyStricter(t, c, oracle, typ, damaged); {
				case why != "":
					stricter[why]++
				case agree(t, c, oracle, typ, damaged):
					taken++
				default:
					refused++
				}
			}
			t.Logf("of %d: both take %d, both refuse %d, ours alone refuses %v", recordsPerType, taken, refused, stricter)
			require.NotZero(t, taken, "damage within a text leaves a message")
			require.NotZero(t, refused)
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

// whyStricter names what ours refuses in a value of this build's schema that the oracle takes, and fails
// where that is for none of the reasons below, or where what the oracle read does not show the reason;
// empty where they agree.
func whyStricter(t *testing.T, c *Codec, oracle *twmb.Schema, typ event.Type, value []byte) string {
	t.Helper()
	_, err := c.Decode(t.Context(), value)
	byOracle, _ := event.New(typ)
	rest, byOracleErr := oracle.Decode(value[frameBytes:], byOracle)
	if err == nil || byOracleErr != nil {
		return ""
	}
	require.ErrorIs(t, err, ErrPoison)
	e, encErr := c.encoder(typ)
	require.NoError(t, encErr)
	_, _, f := e.program.walk(value[frameBytes:])
	shown := false
	switch f {
	case leftOver: // the oracle returns them
		shown = len(rest) > 0
	case notUTF8: // the oracle takes any bytes for text
		shown = holds(reflect.ValueOf(byOracle), func(v reflect.Value) bool {
			return v.Kind() == reflect.String && !utf8.ValidString(v.String())
		})
	case outOfTime: // the oracle takes any number for a time
		shown = holds(reflect.ValueOf(byOracle), func(v reflect.Value) bool {
			at, ok := v.Interface().(time.Time)
			return ok && (at.Year() < 1 || at.Year() > 9999)
		})
	case notBoolean, // the oracle takes any byte for one
		notBranch,                               // the oracle reads an index in more bytes than it takes
		countBeyond, blockBeyond, blockMismatch: // the oracle does not look at the sizes of blocks
		again, err := oracle.Encode(byOracle)
		require.NoError(t, err)
		shown = !bytes.Equal(again, value[frameBytes:len(value)-len(rest)])
	case lengthOverLimit, itemsOverLimit: // the oracle has other limits
		shown = true
	default: // whatever else ours refuses, the oracle must refuse
	}
	require.True(t, shown, "the oracle takes what ours refuses: %v", err)
	return f.String()
}

// holds says whether is holds of any value within v.
func holds(v reflect.Value, is func(reflect.Value) bool) bool {
	if is(v) {
		return true
	}
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && holds(v.Elem(), is)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && holds(v.Field(i), is) {
				return true
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return false
		}
		for i := range v.Len() {
			if holds(v.Index(i), is) {
				return true
			}
		}
	default:
	}
	return false
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
