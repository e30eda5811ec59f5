package wire

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"conveyance/avro/schema"
)

// embedded is a source without a registry: the texts of this build, numbered from 1 in the order of
// their names. Two builds with the same types agree; nothing else does. It is for tests.
type embedded struct {
	texts []string
}

func newEmbedded() *embedded {
	all := schema.All()
	e := &embedded{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e.texts = append(e.texts, all[name])
	}
	return e
}

func (e *embedded) id(_ context.Context, subject, text string) (uint32, error) {
	i := slices.Index(e.texts, text)
	if i < 0 {
		return 0, fmt.Errorf("%w: no embedded schema for %s", ErrUnavailable, subject)
	}
	return uint32(i + 1), nil //nolint:gosec // G115: a handful of schemas
}

func (e *embedded) text(_ context.Context, id uint32) (string, error) {
	if id == 0 || int(id) > len(e.texts) {
		return "", fmt.Errorf("%w: %w: no embedded schema has id %d", ErrPoison, ErrUnknownSchema, id)
	}
	return e.texts[id-1], nil
}
