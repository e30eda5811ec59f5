package consumers_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/consumers/consumerstest"
	"conveyance/internal/ledger"
	"conveyance/internal/stream"
	"conveyance/internal/stream/streamtest"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// echo is an adapter with one effect per deal; it counts who calls it.
type echo struct{ planned, applied, confirmed int }

func (a *echo) Plan(_ context.Context, t tenant.Tenant, e event.Event) ([]ledger.Effect, error) {
	a.planned++
	return []ledger.Effect{{Verb: "echo", Target: t.ID, Class: ledger.ClassD, Line: string(e.Type())}}, nil
}

func (a *echo) Apply(context.Context, tenant.Tenant, event.Event, ledger.Effect) (ledger.Receipt, error) {
	a.applied++
	return ledger.Receipt{Ref: "1"}, nil
}

func (a *echo) Confirm(context.Context, tenant.Tenant, event.Event, ledger.Effect) (ledger.Outcome, error) {
	a.confirmed++
	return ledger.InPlace, nil
}

// directory is what a process knows of its tenants.
type directory map[string]tenant.Tenant

var errAway = errors.New("postgres is away")

func (d directory) Tenant(_ context.Context, id string) (tenant.Tenant, error) {
	if id == "away" {
		return tenant.Tenant{}, errAway
	}
	t, ok := d[id]
	if !ok {
		return t, tenant.ErrUnknown
	}
	return t, nil
}

func (d directory) Tenants(context.Context) (out []tenant.Tenant, _ error) {
	for t := range maps.Values(d) {
		out = append(out, t)
	}
	return out, nil
}

// runner is echo's destination under the engine, with one tenant as change leaves it.
func runner(t *testing.T, change func(*tenant.Tenant)) (stream.KeyedHandler, *echo) {
	t.Helper()
	brokerage := consumerstest.Tenant("echo", "", "{}")
	if change != nil {
		change(&brokerage)
	}
	a := &echo{}
	h, err := consumers.Keyed(consumers.Destination{
		Name: "echo", Vendor: "echo",
		Adapter: func(consumers.Deps) (consumers.Adapter, error) { return a, nil },
	}, consumers.Deps{Tenants: directory{brokerage.ID: brokerage}})
	require.NoError(t, err)
	return h, a
}

// deal is a record of a deal that was seen, changed and made after go-live; change spoils that.
func deal(t *testing.T, change func(*event.DealChanged)) *stream.Record {
	t.Helper()
	events := consumerstest.NewDeal(consumerstest.Tenant("echo", "", "{}"), "100").Tell()
	for _, e := range events {
		if d, ok := e.(*event.DealChanged); ok {
			if change != nil {
				change(d)
			}
			return streamtest.Record("deals.v1", 1, d.Deal.DealKey, d)
		}
	}
	require.Fail(t, "no deal")
	return nil
}

func wants(t *tenant.Tenant, change func(*tenant.Adapter)) {
	a := t.Adapters["echo"]
	change(&a)
	t.Adapters["echo"] = a
}

func TestEventOfALiveTenantReachesItsAdapter(t *testing.T) {
	t.Parallel()
	h, a := runner(t, nil)
	rec := deal(t, nil)
	effects, err := h.Plan(t.Context(), rec)
	require.NoError(t, err)
	require.Len(t, effects, 1)
	receipt, err := h.Apply(t.Context(), rec, effects[0])
	require.NoError(t, err)
	require.Equal(t, "1", receipt.Ref)
	out, err := h.Confirm(t.Context(), rec, effects[0])
	require.NoError(t, err)
	require.Equal(t, ledger.InPlace, out)
	require.Equal(t, echo{1, 1, 1}, *a)
}

func TestNobodyIsCalledForATenantThatMustNotBe(t *testing.T) {
	t.Parallel()
	scope := verdict.TenantScope("lakeshore")
	for cause, tt := range map[string]struct {
		change func(*tenant.Tenant)
		scope  verdict.Scope
	}{
		"tenant paused":   {func(b *tenant.Tenant) { b.Paused = true }, scope},
		"adapter paused":  {func(b *tenant.Tenant) { wants(b, func(a *tenant.Adapter) { a.Paused = true }) }, scope},
		"account missing": {func(b *tenant.Tenant) { wants(b, func(a *tenant.Adapter) { a.Account = "other" }) }, scope},
		"account paused": {
			func(b *tenant.Tenant) { b.Accounts[0].Paused = true },
			verdict.AccountScope("lakeshore", "echo", "main"),
		},
	} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			h, a := runner(t, tt.change)
			rec := deal(t, nil)
			_, planErr := h.Plan(t.Context(), rec)
			_, applyErr := h.Apply(t.Context(), rec, ledger.Effect{})
			_, confirmErr := h.Confirm(t.Context(), rec, ledger.Effect{})
			for _, err := range []error{planErr, applyErr, confirmErr} {
				v := verdict.Of(err)
				require.Equal(t, verdict.Hold, v.Kind)
				require.Equal(t, cause, v.Cause)
				require.Equal(t, tt.scope, v.Scope)
				require.WithinDuration(t, time.Now().Add(10*time.Second), v.Until, 5*time.Second, "it looks again by itself")
			}
			require.Zero(t, *a)
		})
	}
}

func TestRecordThatIsHeldAfterTheResumeLooksAgainByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, queued := range []bool{false, true} { // read, or released, before this process knows of the resume
			h, _ := runner(t, func(b *tenant.Tenant) { b.Paused = true })
			rec := deal(t, nil)
			rec.Queued = queued
			_, err := h.Plan(t.Context(), rec)
			require.Equal(t, time.Now().Add(4*tenant.RefreshAfter), verdict.Of(err).Until)
		}
	})
}

func TestTenantThatNobodyKnowsIsHeldAndTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, a := runner(t, nil)
		rec := deal(t, func(e *event.DealChanged) { e.Origin.Resource.Tenant = "stranger" })
		_, err := h.Plan(t.Context(), rec)
		v := verdict.Of(err)
		require.Equal(t, verdict.Hold, v.Kind)
		require.Equal(t, verdict.TenantScope("stranger"), v.Scope)
		require.Equal(t, time.Now().Add(time.Minute), v.Until)
		rec = deal(t, func(e *event.DealChanged) { e.Origin.Resource.Tenant = "away" })
		_, err = h.Apply(t.Context(), rec, ledger.Effect{})
		require.ErrorIs(t, err, errAway)
		require.Equal(t, verdict.Retry, verdict.Of(err).Kind, "nothing was sent")
		require.Zero(t, *a)
	})
}

func TestTenantWithoutTheAdapterIsSkippedAndOneThatLostItIsHeld(t *testing.T) {
	t.Parallel()
	h, a := runner(t, func(b *tenant.Tenant) { delete(b.Adapters, "echo") })
	_, err := h.Plan(t.Context(), deal(t, nil))
	require.Equal(t, verdict.Skip, verdict.Of(err).Kind)
	require.Equal(t, "not for this tenant", verdict.Of(err).Cause)
	_, err = h.Confirm(t.Context(), deal(t, nil), ledger.Effect{})
	require.Equal(t, verdict.Hold, verdict.Of(err).Kind, "an effect in doubt is not skipped")
	_, err = h.Plan(t.Context(), streamtest.Record("webhooks.docusign.v1", 1, "k", &event.WebhookReceived{}))
	require.Equal(t, "not an event", verdict.Of(err).Cause)
	require.Zero(t, *a)
}

func TestWhatHappenedBeforeGoLiveHasNoEffect(t *testing.T) {
	t.Parallel()
	before, after := consumerstest.Start.Add(-time.Minute), consumerstest.Start.Add(time.Minute)
	for name, tt := range map[string]struct {
		change func(*event.DealChanged)
		live   bool
	}{
		"read before":                      {func(e *event.DealChanged) { e.Origin.ReadAt = before }, false},
		"first sight of an older deal":     {func(e *event.DealChanged) { e.Deal.CreatedAt = &before }, false},
		"a later change of an older deal":  {func(e *event.DealChanged) { e.Deal.CreatedAt, e.Origin.FirstSight = &before, false }, true},
		"first sight, changed before":      {func(e *event.DealChanged) { e.Deal.CreatedAt, e.Origin.ChangedAt = nil, &before }, false},
		"first sight, made after":          {func(e *event.DealChanged) { e.Deal.CreatedAt, e.Origin.ChangedAt = &after, &before }, true},
		"first sight of who knows when":    {func(e *event.DealChanged) { e.Deal.CreatedAt, e.Origin.ChangedAt = nil, nil }, true},
		"read at the very instant it goes": {func(e *event.DealChanged) { e.Origin.ReadAt = consumerstest.Start }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, a := runner(t, nil)
			_, err := h.Plan(t.Context(), deal(t, tt.change))
			if tt.live {
				require.NoError(t, err)
				return
			}
			require.Equal(t, verdict.Skip, verdict.Of(err).Kind)
			require.Equal(t, "before go-live", verdict.Of(err).Cause)
			require.Zero(t, *a)
		})
	}
}

func TestContactOfAnOlderRecordHasNoEffectAtFirstSight(t *testing.T) {
	t.Parallel()
	h, _ := runner(t, nil)
	before := consumerstest.Start.Add(-time.Minute)
	e := &event.ContactChanged{Origin: event.Origin{
		Resource: event.Resource{Tenant: "lakeshore"}, FirstSight: true, ReadAt: consumerstest.Start, ChangedAt: &before,
	}}
	_, err := h.Plan(t.Context(), streamtest.Record("contacts.v1", 1, "k", e))
	require.Equal(t, "before go-live", verdict.Of(err).Cause)
	e.Origin.FirstSight = false
	_, err = h.Plan(t.Context(), streamtest.Record("contacts.v1", 1, "k", e))
	require.NoError(t, err)
}

func TestTableOfPlansSkipsWhatItDoesNotHold(t *testing.T) {
	t.Parallel()
	plans := consumers.Plans{event.TypeDealChanged: consumers.On(
		func(_ context.Context, _ tenant.Tenant, e *event.DealChanged) ([]ledger.Effect, error) {
			return []ledger.Effect{{Verb: "deal", Target: e.Deal.DealKey}}, nil
		})}
	effects, err := plans.Plan(t.Context(), tenant.Tenant{}, &event.DealChanged{Deal: event.Deal{DealKey: "k"}})
	require.NoError(t, err)
	require.Equal(t, "k", effects[0].Target)
	_, err = plans.Plan(t.Context(), tenant.Tenant{}, &event.ContactChanged{})
	require.Equal(t, verdict.Skip, verdict.Of(err).Kind)
}

func TestAmountsReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]event.Money{
		"512,000.00 USD": {Currency: "USD", Minor: 51_200_000}, "0.05 USD": {Currency: "USD", Minor: 5},
		"-1,234.50 CAD": {Currency: "CAD", Minor: -123_450}, "-0.07 USD": {Currency: "USD", Minor: -7},
		"1,234 JPY": {Currency: "JPY", Minor: 1234}, "1.234 KWD": {Currency: "KWD", Minor: 1234},
		"9.99 ???": {Currency: "???", Minor: 999}, "-92,233,720,368,547,758.08 USD": {Currency: "USD", Minor: -1 << 63},
	} {
		require.Equal(t, want, consumers.Amount(m))
	}
}
