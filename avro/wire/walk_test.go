package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
)

// program of a schema of one field v of a type.
func programOf(t testing.TB, typ string) *program {
	t.Helper()
	s, err := parse(`{"type":"record","name":"T","fields":[{"name":"v","type":` + typ + `}]}`)
	require.NoError(t, err)
	p, err := compile(s)
	require.NoError(t, err)
	return p
}

func TestWalkRefusesWhatDoesNotMatchItsSchema(t *testing.T) {
	t.Parallel()
	const (
		enum  = `{"type":"enum","name":"E","symbols":["A","B"]}`
		array = `{"type":"array","items":"string"}`
		pairs = `{"type":"array","items":{"type":"record","name":"P","fields":[` +
			`{"name":"a","type":"string"},{"name":"b","type":"long"}]}}`
		date   = `{"type":"int","logicalType":"date"}`
		millis = `{"type":"long","logicalType":"timestamp-millis"}`
	)
	ff := strings.Repeat("\xff", 9)
	for _, c := range []struct{ name, typ, body, fault string }{
		{"boolean 1", `"boolean"`, "\x01", ""},
		{"boolean 2", `"boolean"`, "\x02", "boolean is neither 0 nor 1"},
		{"no boolean", `"boolean"`, "", "ends before a boolean"},
		{"int of 5 bytes", `"int"`, "\xff\xff\xff\xff\x0f", ""},
		{"int over 32 bits", `"int"`, "\xff\xff\xff\xff\x10", "number does not fit its type"},
		{"int of 6 bytes", `"int"`, "\x80\x80\x80\x80\x80\x00", "number does not fit its type"},
		{"int that ends", `"int"`, "\x80", "ends within a number"},
		{"long of 10 bytes", `"long"`, ff + "\x01", ""},
		{"long over 64 bits", `"long"`, ff + "\x02", "number does not fit its type"},
		{"long of 11 bytes", `"long"`, ff + "\x80\x00", "number does not fit its type"},
		{"no long", `"long"`, "", "ends within a number"},
		{"text", `"string"`, "\x06abc", ""},
		{"text beyond the end", `"string"`, "\x08abc", "length is beyond the end"},
		{"text of 2^62", `"string"`, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01abc", "length is beyond the end"},
		{"text of negative length", `"string"`, "\x01abc", "length is negative"},
		{"text not UTF-8", `"string"`, "\x04\xc3\x28", "text is not UTF-8"},
		{"bytes", `"bytes"`, "\x04\xc3\x28", ""},
		{"enum", enum, "\x02", ""},
		{"enum beyond", enum, "\x04", "enum has no such symbol"},
		{"enum negative", enum, "\x01", "enum has no such symbol"},
		{"union null", `["null","long"]`, "\x00", ""},
		{"union value", `["null","long"]`, "\x02\x02", ""},
		{"union beyond", `["null","long"]`, "\x04\x02", "union has no such branch"},
		{"union negative", `["null","long"]`, "\x01", "union has no such branch"},
		{"no union", `["null","long"]`, "", "ends before a union"},
		{"union without value", `["null","long"]`, "\x02", "ends within a number"},
		{"array empty", array, "\x00", ""},
		{"array of two blocks", array, "\x02\x02a\x02\x02b\x00", ""},
		{"array with size", array, "\x01\x04\x02a\x00", ""},
		{"array without end", array, "\x02\x02a", "ends within a number"},
		{"array count beyond", array, "\x0a\x02a\x00", "count is beyond the end"},
		{"array count beyond least item", pairs, "\x04\x00\x00\x00", "count is beyond the end"},
		{"array count 2^62", array, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "count is beyond the end"},
		{"array count MinInt64", array, ff + "\x01\x00", "count is beyond the end"},
		{"array size too small", array, "\x01\x02\x02a\x00", "block is not as long as it says"},
		{"array size too large", array, "\x01\x06\x02a\x00", "block is not as long as it says"},
		{"array size beyond", array, "\x01\x40\x02a\x00", "block is beyond the end"},
		{"array size negative", array, "\x01\x03\x02a\x00", "block is beyond the end"},
		{"array size below count", array, "\x03\x02\x02a\x00", "count is beyond the end"},
		{"year 1", date, "\xf3\xe4\x57", ""},
		{"year 0", date, "\xf5\xe4\x57", "time is outside the years 1 to 9999"},
		{"year 292277026", millis, "\xfe" + ff[1:] + "\x01", "time is outside the years 1 to 9999"},
		{"bytes left over", `"long"`, "\x02\x02", "bytes are left over"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := programOf(t, c.typ).check([]byte(c.body), ErrPoison)
			if c.fault == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrPoison)
			require.ErrorContains(t, err, c.fault)
		})
	}
}

// The walk looks at eight bytes at a time: every length, with every byte bad, whatever stands before.
func TestTextIsCheckedAtEveryByte(t *testing.T) {
	t.Parallel()
	p := programOf(t, `{"type":"array","items":"string"}`)
	for before := range 10 {
		for length := range 40 {
			body := append(zigzag(2), zigzag(int64(before))...)
			body = append(body, bytes.Repeat([]byte("b"), before)...)
			body = append(append(body, zigzag(int64(length))...), bytes.Repeat([]byte("x"), length)...)
			body = append(body, 0)
			require.NoError(t, p.check(body, ErrPoison))
			for i := range length {
				at := len(body) - 2 - i
				body[at] = 0x80
				require.ErrorContains(t, p.check(body, ErrPoison), "text is not UTF-8", "byte %d of %d", length-i, length)
				body[at] = 'x'
			}
		}
	}
}

func TestWalkRefusesWhatIsOverALimit(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	encode := func(m event.Message) error {
		_, err := c.AppendEncode(t.Context(), nil, topicOf, m)
		return err
	}
	roles := func(n int) *event.ContactChanged {
		return &event.ContactChanged{Changed: make([]string, n/2), Contact: event.Contact{Emails: make([]string, n-n/2)}}
	}
	require.NoError(t, encode(roles(itemsMax)))
	require.ErrorIs(t, encode(roles(itemsMax+1)), ErrUnencodable, "items of all arrays count together")
	require.ErrorContains(t, encode(roles(itemsMax+1)), "field changed: items are over the limit")

	require.NoError(t, encode(&event.DealChanged{Deal: sound(strings.Repeat("x", stringBytesMax))}))
	require.ErrorContains(t, encode(&event.DealChanged{Deal: sound(strings.Repeat("x", stringBytesMax+1))}),
		"field deal.name: length is over the limit")

	require.NoError(t, encode(&event.WebhookReceived{Body: bytes.Repeat([]byte{0xff}, bytesBytesMax)}))
	require.ErrorContains(t, encode(&event.WebhookReceived{Body: bytes.Repeat([]byte{0xff}, bytesBytesMax+1)}),
		"field body: length is over the limit")
}

// sound is a deal with a name and with what must not be empty.
func sound(name string) event.Deal {
	return event.Deal{
		Name: name, Status: event.TransactionStatusUnknown, Representation: event.RepresentationUnknown,
	}
}

func TestNothingIsWrittenThatAReaderRefuses(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	dst := []byte("before")
	got, err := c.AppendEncode(t.Context(), dst, topicOf, &event.DealChanged{Deal: sound("\xff")})
	require.ErrorIs(t, err, ErrUnencodable)
	require.ErrorContains(t, err, "field deal.name: text is not UTF-8")
	require.Equal(t, "before", string(got))

	secret := sound("")
	secret.Status = "Jane Doe"
	_, err = c.AppendEncode(t.Context(), dst, topicOf, &event.DealChanged{Deal: secret})
	require.ErrorIs(t, err, ErrUnencodable)
	require.NotContains(t, err.Error(), "Jane")

	_, err = c.AppendEncode(t.Context(), dst, topicOf, nil)
	require.ErrorIs(t, err, ErrUnencodable)
}

func TestErrorsNameTheFieldAndNeverItsContent(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	m := &event.DealChanged{Deal: sound("")}
	m.Deal.Participants = []event.Participant{{Role: event.ParticipantRoleBuyer}}
	m.Deal.Participants[0].Contact.Emails = []string{"jane@example.com"}
	value, err := c.AppendEncode(t.Context(), nil, topicOf, m)
	require.NoError(t, err)
	value[bytes.Index(value, []byte("jane"))] = 0xff
	_, err = c.Decode(t.Context(), value)
	require.ErrorIs(t, err, ErrPoison)
	require.ErrorContains(t, err, "field deal.participants[].contact.emails[]: text is not UTF-8")
	require.NotContains(t, err.Error(), "example.com")
}

func TestWriterSchemasOutsideTheContractAreRefusedWhole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ typ, want string }{
		"map":           {`{"type":"map","values":"long"}`, "map is not part"},
		"double":        {`"double"`, "double is not part"},
		"fixed":         {`{"type":"fixed","name":"F","size":4}`, "fixed is not part"},
		"decimal":       {`{"type":"bytes","logicalType":"decimal","precision":9}`, "decimal is not part"},
		"wide union":    {`["null","long","string"]`, "union other than null and one type"},
		"late null":     {`["long","null"]`, "union other than null and one type"},
		"array of null": {`{"type":"array","items":"null"}`, "null is not part"},
		"array of nothing": {
			`{"type":"array","items":{"type":"record","name":"E","fields":[]}}`, "array of nothing",
		},
		"recursion": {`["null","T"]`, "T contains itself"},
		"deep array": {
			strings.Repeat(`{"type":"array","items":`, 9) + `"long"` + strings.Repeat("}", 9), "nest more than 8 deep",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := parse(`{"type":"record","name":"T","fields":[{"name":"v","type":` + c.typ + `}]}`)
			require.NoError(t, err)
			_, err = compile(s)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestASchemaThatDoublesItselfIsRefused(t *testing.T) {
	t.Parallel()
	typ, before := `"long"`, `"long"`
	for i := range 40 {
		name := fmt.Sprintf("R%d", i)
		typ = `{"type":"record","name":"` + name + `","fields":[{"name":"a","type":` + typ +
			`},{"name":"b","type":` + before + `}]}`
		before = `"` + name + `"`
	}
	s, err := parse(typ)
	require.NoError(t, err)
	_, err = compile(s)
	require.ErrorContains(t, err, "more than 10000 fields")
}

func TestFrameIsCheckedFirst(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	for _, value := range [][]byte{nil, {}, {0}, {0, 0, 0, 0}, {1, 0, 0, 0, 1, 0}, []byte(`{"id":1}`), {0, 0, 0, 0, 99}} {
		_, err := c.Decode(t.Context(), value)
		require.ErrorIs(t, err, ErrPoison)
	}
	require.Equal(t, []byte{0, 0x01, 0x02, 0x03, 0x04}, appendFrame(nil, 0x01020304))
}

func TestDecodedBytesMayBeAppendedTo(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	m := &event.VendorSnapshot{Parts: []event.Part{{Body: []byte("one")}, {Name: "agents", Body: []byte("two")}}}
	value, err := c.AppendEncode(t.Context(), nil, topicOf, m)
	require.NoError(t, err)
	read, err := c.Decode(t.Context(), value)
	require.NoError(t, err)
	got := read.(*event.VendorSnapshot)
	got.Parts[0].Body = append(got.Parts[0].Body, "XXXXXXXXXXXX"...)
	require.Equal(t, "agents", got.Parts[1].Name)
	require.Equal(t, "two", string(got.Parts[1].Body))
	clear(value)
	require.Equal(t, "two", string(got.Parts[1].Body), "no reference to the value")
}

func TestEveryBytesFieldOfEveryTypeIsItsOwn(t *testing.T) {
	t.Parallel()
	c, g := newCodec(t), newGenerator(t, 37)
	seen := map[event.Type]bool{}
	for _, typ := range event.Types() {
		for range 50 {
			value, err := c.AppendEncode(t.Context(), nil, topicOf, g.message(typ))
			require.NoError(t, err)
			m, err := c.Decode(t.Context(), value)
			require.NoError(t, err)
			eachBytes(reflect.ValueOf(m), func(b []byte) {
				seen[typ] = true
				require.Equal(t, len(b), cap(b), "%s: own does not know a bytes field", typ)
			})
		}
	}
	require.Len(t, seen, 2)
}

func eachBytes(v reflect.Value, visit func([]byte)) {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		eachBytes(v.Elem(), visit)
	case v.Type() == reflect.TypeFor[[]byte]():
		visit(v.Bytes())
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			eachBytes(v.Index(i), visit)
		}
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			eachBytes(v.Field(i), visit)
		}
	}
}
