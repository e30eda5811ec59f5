package observe

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"go.uber.org/zap"
)

// Trace is a position in a distributed trace as W3C Trace Context carries it from record to record
// and process to process. The zero Trace is none.
type Trace struct {
	ID      [16]byte // of the whole story, from hint to effect
	Span    [8]byte  // of this step
	Sampled bool
}

// NewTrace begins a trace. It is sampled: what a collector drops is the collector's choice.
func NewTrace() Trace {
	t := Trace{Sampled: true}
	binary.NativeEndian.PutUint64(t.ID[:8], rand.Uint64()) //nolint:gosec // G404: a name, no secret
	binary.NativeEndian.PutUint64(t.ID[8:], rand.Uint64()) //nolint:gosec // G404: a name, no secret
	return t.Child()
}

// Child is the next step of the same trace.
func (t Trace) Child() Trace {
	binary.NativeEndian.PutUint64(t.Span[:], rand.Uint64()) //nolint:gosec // G404: a name, no secret
	return t
}

// String is the traceparent header.
func (t Trace) String() string {
	flags := "00"
	if t.Sampled {
		flags = "01"
	}
	text := make([]byte, 0, len("00-")+2*len(t.ID)+len("-")+2*len(t.Span)+len("-00"))
	text = hex.AppendEncode(append(text, "00-"...), t.ID[:])
	text = hex.AppendEncode(append(text, '-'), t.Span[:])
	return string(append(append(text, '-'), flags...))
}

// ParseTrace reads a traceparent header, and returns false where it is none: it then begins a new
// trace, as the standard asks. Later versions of the header are read as far as this one goes.
func ParseTrace(header string) (Trace, bool) {
	var (
		t       Trace
		version [1]byte
		flags   [1]byte
	)
	parts := strings.Split(header, "-")
	if len(parts) < 4 || !decode(version[:], parts[0]) || version[0] == 0xff || (version[0] == 0 && len(parts) != 4) {
		return Trace{}, false
	}
	if !decode(t.ID[:], parts[1]) || !decode(t.Span[:], parts[2]) || !decode(flags[:], parts[3]) {
		return Trace{}, false
	}
	if t.ID == [16]byte{} || t.Span == [8]byte{} {
		return Trace{}, false
	}
	t.Sampled = flags[0]&1 == 1
	return t, true
}

// decode reads lower-case hexadecimal of exactly the right length.
func decode(into []byte, text string) bool {
	if len(text) != 2*len(into) || strings.ToLower(text) != text {
		return false
	}
	_, err := hex.Decode(into, []byte(text))
	return err == nil
}

type traceKey struct{}

// WithTrace puts a trace into a context.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the context's trace, or a new one.
func TraceOf(ctx context.Context) Trace {
	if t, ok := ctx.Value(traceKey{}).(Trace); ok {
		return t
	}
	return NewTrace()
}

// TraceID is the field by which all lines of one story are found.
func TraceID(t Trace) zap.Field { return zap.String("trace_id", hex.EncodeToString(t.ID[:])) }
