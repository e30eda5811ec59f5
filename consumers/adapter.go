package consumers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	// lookAgain is when a record that finds its tenant paused is tried by itself, one of each partition
	// for all: whoever resumes wakes them, but the resume may be younger than what this process knows
	// of the tenant, and have woken them before they were held.
	lookAgain = 4 * tenant.RefreshAfter
	// unknownFor is how long a record of a tenant that nobody knows waits between two looks: a
	// tenant's file may be applied after its records, and nobody wakes what has no tenant.
	unknownFor = time.Minute
)

// Keyed returns an adapter's destination as a handler of the engine. It lets an event through to
// the adapter if its tenant wants the adapter, is not paused, and had gone live when it happened.
// A refused account is held by deps.HTTP, which lets one probe through at a time.
func Keyed(d Destination, deps Deps) (stream.KeyedHandler, error) {
	a, err := d.Adapter(deps)
	if err != nil {
		return nil, fmt.Errorf("making adapter %s: %w", d.Name, err)
	}
	return &runner{name: d.Name, vendor: d.Vendor, adapter: a, tenants: deps.Tenants}, nil
}

type runner struct {
	name, vendor string
	adapter      Adapter
	tenants      tenant.Directory
}

func (r *runner) Plan(ctx context.Context, rec *stream.Record) ([]ledger.Effect, error) {
	e, t, err := r.tenant(ctx, rec)
	if err != nil {
		return nil, err
	}
	switch wants, ok := t.Adapters[r.name]; {
	case !ok:
		return nil, verdict.Skipped("not for this tenant")
	case beforeGoLive(e, wants.EffectsFrom):
		return nil, verdict.Skipped("before go-live")
	}
	if err := r.paused(t); err != nil {
		return nil, err
	}
	return r.adapter.Plan(ctx, t, e)
}

// Apply and Confirm work on effects that were planned: what the tenant wants by now decides only
// whether they may call.

func (r *runner) Apply(ctx context.Context, rec *stream.Record, f ledger.Effect) (ledger.Receipt, error) {
	e, t, err := r.tenant(ctx, rec)
	if err == nil {
		err = r.paused(t)
	}
	if err != nil {
		return ledger.Receipt{}, err
	}
	return r.adapter.Apply(ctx, t, e, f)
}

func (r *runner) Confirm(ctx context.Context, rec *stream.Record, f ledger.Effect) (ledger.Outcome, error) {
	e, t, err := r.tenant(ctx, rec)
	if err == nil {
		err = r.paused(t)
	}
	if err != nil {
		return ledger.CannotTell, err
	}
	return r.adapter.Confirm(ctx, t, e, f)
}

// tenant returns the record's event and whose it is. Its errors say that nothing was done.
func (r *runner) tenant(ctx context.Context, rec *stream.Record) (event.Event, tenant.Tenant, error) {
	e, ok := rec.Message.(event.Event)
	if !ok {
		return nil, tenant.Tenant{}, verdict.Skipped("not an event")
	}
	id := e.Source().Resource.Tenant
	t, err := r.tenants.Tenant(ctx, id)
	if errors.Is(err, tenant.ErrUnknown) {
		return nil, t, verdict.Held(verdict.TenantScope(id), time.Now().Add(unknownFor), "tenant unknown", err)
	}
	if err != nil {
		return nil, t, verdict.RetryAfter(0, "tenants unreadable", fmt.Errorf("looking up tenant %s: %w", id, err))
	}
	return e, t, nil
}

// paused is the hold of records whose tenant, adapter or account must not be called now.
func (r *runner) paused(t tenant.Tenant) error {
	until := time.Now().Add(lookAgain)
	wants, ok := t.Adapters[r.name]
	switch {
	case !ok: // only where it was planned when there was one
		return verdict.Held(verdict.TenantScope(t.ID), until, "adapter removed from the tenant", nil)
	case t.Paused:
		return verdict.Held(verdict.TenantScope(t.ID), until, "tenant paused", nil)
	case wants.Paused:
		return verdict.Held(verdict.TenantScope(t.ID), until, "adapter paused", nil)
	case r.vendor == "":
		return nil
	}
	switch a, ok := t.Account(r.vendor, wants.Account); {
	case !ok:
		return verdict.Held(verdict.TenantScope(t.ID), until, "account missing",
			fmt.Errorf("tenant %s has no %s account %q: name one in its file", t.ID, r.vendor, wants.Account))
	case a.Paused:
		return verdict.Held(verdict.AccountScope(t.ID, r.vendor, a.Name), until, "account paused", nil)
	}
	return nil
}

// beforeGoLive is true for a change that was read before from, and for the first sight of a deal
// that was made before it. An event that carries no deal (a contact's) is judged by when its record
// last changed.
func beforeGoLive(e event.Event, from time.Time) bool {
	o := e.Source()
	if o.ReadAt.Before(from) {
		return true
	}
	since := o.ChangedAt
	if d := DealOf(e); d != nil && d.CreatedAt != nil {
		since = d.CreatedAt
	}
	return o.FirstSight && since != nil && since.Before(from)
}
