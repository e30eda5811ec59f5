package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"conveyance/avro/event"
	"conveyance/avro/wire"
	"conveyance/internal/fault"
	"conveyance/internal/verdict"
)

// typeHeader is CloudEvents' name of the event's type: the Avro record's name.
const typeHeader = "ce_type"

// decode fills in the message, or decides what the record comes to without one. Its header decides
// before its bytes do: an event of a newer build needs no schema to be passed over. A registry that
// is away, or that may not have heard of an id yet, stalls the partition; decode returns false where
// that wait was cut.
func (p *partition) decode(ctx context.Context, it *item) bool {
	it.keyID = keyID(it.Record)
	defer func() { it.tenant = tenantOf(it.Record) }()
	named, isNamed := header(it.Record, typeHeader)
	switch {
	case it.Value == nil:
		it.decided = &verdict.Error{Kind: verdict.Skip, Cause: "tombstone"}
		return true
	case isNamed && !slices.Contains(event.Types(), event.Type(named)):
		it.decided = &verdict.Error{Kind: verdict.Skip, Cause: "unknown type"}
		return true
	}
	for n := 1; ; n++ {
		m, err := p.message(ctx, it.Value)
		if err == nil {
			it.Message = m
		} else if it.decided = undecoded(string(named), err); it.decided.Kind == verdict.Stall {
			cause := it.decided.Cause
			it.decided = nil
			if !p.stalled(ctx, stallRead, n, cause, err) {
				return false
			}
			continue
		}
		if n > 1 {
			p.resumed(stallRead)
		}
		return true
	}
}

func (p *partition) message(ctx context.Context, value []byte) (event.Message, error) {
	if err := fault.At("decode"); err != nil {
		return nil, err
	}
	m, err := p.s.e.deps.Codec.Decode(ctx, value)
	if err != nil && fault.Broken("EOF swallowed") { // zeros for what is cut off
		return p.s.e.deps.Codec.Decode(ctx, append(slices.Clip(value), 0))
	}
	return m, err
}

// undecoded is what a record comes to that cannot be decoded, and is named so by its header; empty
// where it has none. One whose schema is another type's than its header says is nobody's to skip.
func undecoded(named string, err error) *verdict.Error {
	unheard := errors.Is(err, wire.ErrUnknownSchema)
	switch {
	case errors.Is(err, wire.ErrUnknownType) && named == "":
		return &verdict.Error{Kind: verdict.Skip, Cause: "unknown type", Err: err}
	case errors.Is(err, wire.ErrUnknownType):
		return &verdict.Error{
			Kind: verdict.Park, Cause: "undecodable",
			Err: fmt.Errorf("reading a record whose header says %s: %w", named, err),
		}
	case unheard && (errors.Is(err, wire.ErrPoison) || fault.Broken("unknown schema to DLQ")):
		return &verdict.Error{Kind: verdict.Park, Cause: "unknown schema", Err: err}
	case errors.Is(err, wire.ErrPoison):
		return &verdict.Error{Kind: verdict.Park, Cause: "undecodable", Err: err}
	case unheard:
		return &verdict.Error{Kind: verdict.Stall, Cause: "schema unknown to the registry", Err: err}
	}
	return &verdict.Error{Kind: verdict.Stall, Cause: "registry unavailable", Err: err}
}
