package consumers

import (
	"context"
	"fmt"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// Plans is an adapter's table: what it plans for an event of each type that concerns it.
type Plans map[event.Type]PlanFunc

// PlanFunc plans one event, as Adapter.Plan does.
type PlanFunc func(ctx context.Context, t tenant.Tenant, e event.Event) ([]ledger.Effect, error)

// On makes the table's entry from a function of one event type.
func On[E event.Event](plan func(ctx context.Context, t tenant.Tenant, e E) ([]ledger.Effect, error)) PlanFunc {
	return func(ctx context.Context, t tenant.Tenant, e event.Event) ([]ledger.Effect, error) {
		typed, ok := e.(E)
		if !ok {
			return nil, verdict.Parked("event is not of its type", fmt.Errorf("%s is a %T", e.Type(), e))
		}
		return plan(ctx, t, typed)
	}
}

// Plan looks the event's type up and plans it; a type that is not in the table is skipped.
func (p Plans) Plan(ctx context.Context, t tenant.Tenant, e event.Event) ([]ledger.Effect, error) {
	plan, ok := p[e.Type()]
	if !ok {
		return nil, verdict.Skipped("no effect here")
	}
	return plan(ctx, t, e)
}
