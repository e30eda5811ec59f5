package judge

import (
	"context"
	"fmt"

	"conveyance/internal/sandbox/truth"
)

// envelopes compares the links and the documents of a tenant: a signed envelope is on the deal that it
// belongs to, with each signature once, or listed as unlinked.
func (b Bench) envelopes(ctx context.Context, v *Verdict, t truth.Tenant) error {
	links, documents := map[string]string{}, map[string]int64{}
	err := b.each(ctx, sqlLinks, func(cells []any) { links[cells[0].(string)] = cells[1].(string) })
	if err != nil {
		return err
	}
	err = b.each(ctx, sqlDocuments, func(cells []any) { documents[cells[0].(string)] = cells[1].(int64) })
	if err != nil {
		return err
	}
	waiting := map[string]bool{}
	err = b.each(ctx, sqlUnlinked, func(cells []any) { waiting[cells[0].(string)] = true })
	if err != nil {
		return err
	}
	for key, want := range t.Envelopes {
		v.Envelopes++
		deal, linked := links[key]
		switch {
		case want.Deal == nil && linked:
			v.Misordered = append(v.Misordered, fmt.Sprintf("envelope %s (%s) is on deal %s, and belongs to none", key, want.Kind, deal))
		case want.Deal != nil && linked && deal != *want.Deal:
			v.Misordered = append(v.Misordered, fmt.Sprintf("envelope %s (%s) is on deal %s, not on %s", key, want.Kind, deal, *want.Deal))
		case want.Signatures == 0:
		case want.Deal == nil && !waiting[key]:
			v.Lost = append(v.Lost, fmt.Sprintf("envelope %s (%s) is neither linked nor listed", key, want.Kind))
		case want.Deal != nil && !linked:
			v.Lost = append(v.Lost, fmt.Sprintf("envelope %s (%s) is not linked to %s", key, want.Kind, *want.Deal))
		case want.Deal == nil:
			v.Unlinked++
		}
		n := documents[key]
		switch signed := int64(want.Signatures); {
		case want.Deal != nil && n < signed:
			v.Lost = append(v.Lost, fmt.Sprintf("envelope %s has %d signatures in the warehouse, not %d", key, n, signed))
		case want.Deal != nil && n > signed:
			v.Duplicated = append(v.Duplicated, fmt.Sprintf("envelope %s has %d signatures in the warehouse, not %d", key, n, signed))
		case want.Deal != nil:
			v.Effects += want.Signatures
		}
	}
	return nil
}
