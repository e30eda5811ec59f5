package fetch

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"conveyance/avro/event"
	"conveyance/internal/stream"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

// Intake returns the handler of the webhooks topics, of all vendors. In the transaction that moves the
// offset, the records that deliveries name become dirty; a record that came whole, or that what is kept
// of it completes, is published, where it may be taken as the fact.
func (f *Fetch) Intake() stream.BatchHandler { return &intake{f} }

type intake struct{ f *Fetch }

// delivered is a record that came with a webhook, and with which delivery.
type delivered struct {
	record int
	fact   event.VendorSnapshot
}

func (in *intake) Handle(ctx context.Context, b *stream.Batch) error {
	var hints []hint
	var facts, partials []delivered
	for i, r := range b.Records() {
		w, ok := r.Message.(*event.WebhookReceived)
		if !ok {
			b.Give(i, verdict.Skipped("not a webhook"))
			continue
		}
		d, err := in.read(ctx, w)
		if err != nil {
			b.Give(i, err)
			continue
		}
		hints = append(hints, hintsOf(w, d)...)
		switch {
		case d.Fact != nil:
			facts = append(facts, delivered{i, owned(w, d.Fact)})
		case d.Partial != nil:
			partials = append(partials, delivered{i, owned(w, d.Partial)})
		}
	}
	completed, seen, lacking, err := in.f.fill(ctx, partials, hints)
	if err != nil {
		return err
	}
	facts = append(facts, completed...)
	begun, more, err := in.begin(ctx, facts, seen)
	if err != nil {
		return err
	}
	hints = append(append(hints, lacking...), more...)
	for _, s := range begun {
		b.Emit(recordOf(s, facts), hinted(out(s), "webhook", s.ReadAt))
	}
	b.Commit(func(ctx context.Context, tx pgx.Tx) error {
		if err := in.f.finish(ctx, tx, begun); err != nil {
			return err
		}
		return in.f.store.mark(ctx, tx, hints, in.f.cfg.Now())
	})
	return nil
}

// read asks the vendor's folder what a delivery says.
func (in *intake) read(ctx context.Context, w *event.WebhookReceived) (producers.Delivery, error) {
	var d producers.Delivery
	v, ok := in.f.vendors[w.Vendor]
	if !ok || v.Webhook == nil {
		return d, verdict.Parked("vendor sends no webhooks that this build knows", fmt.Errorf("vendor %s", w.Vendor))
	}
	d, err := v.Webhook.Hints(w.Body)
	if err != nil {
		if _, marked := errors.AsType[*verdict.Error](err); marked {
			return d, fmt.Errorf("reading delivery %s: %w", w.DeliveryID, err)
		}
		return d, verdict.Parked("delivery not understood", fmt.Errorf("reading delivery %s: %w", w.DeliveryID, err))
	}
	who := account{w.Tenant, w.Vendor, w.Account}
	a, shut, err := lookup(ctx, in.f.tenants, who)
	switch {
	case err != nil:
		return d, verdict.RetryAfter(0, "tenants unreadable", err)
	case shut == causeUnknownTenant, shut == causeUnknownAccount:
		return d, verdict.Held(verdict.TenantScope(w.Tenant), in.f.cfg.Now().Add(holdFor), shut, nil)
	case d.Account != "" && a.ExternalID != "" && !strings.EqualFold(d.Account, a.ExternalID):
		// Signed for this path, and about another account: a mix-up that must not cross tenants.
		return d, verdict.Parked("delivery names another account", fmt.Errorf("delivery %s of %s", w.DeliveryID, who.key()))
	}
	return d, nil
}

// hintsOf are the records that a delivery names, but for the one that it holds, whole or not. A delivery's
// folder knows neither tenant nor account: those are the path's.
func hintsOf(w *event.WebhookReceived, d producers.Delivery) []hint {
	held := d.Fact
	if held == nil {
		held = d.Partial
	}
	hints := make([]hint, 0, len(d.Resources))
	for _, r := range d.Resources {
		if held != nil && r.Kind == held.Resource.Kind && r.ID == held.Resource.ID {
			continue
		}
		r.Tenant, r.Vendor, r.Account = w.Tenant, w.Vendor, w.Account
		hints = append(hints, hint{resource: r, lane: live, by: "webhook"})
	}
	return hints
}

func owned(w *event.WebhookReceived, s *event.VendorSnapshot) event.VendorSnapshot {
	own := *s
	own.Resource.Tenant, own.Resource.Vendor, own.Resource.Account = w.Tenant, w.Vendor, w.Account
	own.Lane = live.String()
	if own.ReadAt.IsZero() {
		own.ReadAt = w.ReceivedAt
	}
	return own
}

func (in *intake) begin(
	ctx context.Context, facts []delivered, seen counts,
) ([]*event.VendorSnapshot, []hint, error) {
	if len(facts) == 0 {
		return nil, nil, nil
	}
	snaps := make([]event.VendorSnapshot, len(facts))
	for i := range facts {
		snaps[i] = facts[i].fact
	}
	got, err := in.f.begin(ctx, snaps, seen, "webhook")
	if err != nil {
		return nil, nil, err
	}
	in.f.metrics.came(snaps[0].Resource.Vendor, got)
	return got.begun, got.hints, nil
}

// recordOf is the delivery that brought a fact: the first of that version, where several did.
func recordOf(s *event.VendorSnapshot, facts []delivered) int {
	for _, d := range facts {
		if d.fact.Resource == s.Resource && d.fact.Version == s.Version {
			return d.record
		}
	}
	return facts[0].record
}
