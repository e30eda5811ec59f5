package followupboss

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"conveyance/internal/ledger"
	"conveyance/internal/verdict"
)

func (a *Adapter) applyStage(ctx context.Context, c call) (ledger.Receipt, error) {
	b := c.effect.Body.(stageBody)
	_, ok, err := a.personStage(ctx, c.account, b.stage)
	if err != nil {
		return ledger.Receipt{}, err
	}
	if !ok {
		return ledger.Receipt{}, noStage("stage", b.stage)
	}
	p, err := a.holder(ctx, c, b.client)
	switch {
	case err != nil:
		return ledger.Receipt{}, err
	case same(p.Stage, b.stage):
		return ledger.Receipt{Ref: strconv.FormatInt(p.ID, 10), NoOp: true}, nil
	case c.settings.back(p.Stage, b.stage):
		return ledger.Receipt{}, verdict.Skipped("stage would go back")
	}
	_, err = a.crm.write(ctx, c.account, http.MethodPut, path("people", p.ID), nil, map[string]any{"stage": b.stage})
	return ledger.Receipt{Ref: strconv.FormatInt(p.ID, 10)}, err
}

func (a *Adapter) confirmStage(ctx context.Context, c call) (ledger.Outcome, error) {
	b := c.effect.Body.(stageBody)
	p, err := a.holder(ctx, c, b.client)
	switch {
	case verdict.Of(err) != nil && verdict.Of(err).Kind == verdict.Skip:
		return ledger.NotInPlace, nil // applying says why
	case err != nil:
		return ledger.CannotTell, err
	case same(p.Stage, b.stage), c.settings.back(p.Stage, b.stage): // a later stage contains it
		return ledger.InPlace, nil
	}
	return ledger.NotInPlace, nil
}

// holder is the person whose stage is to be set. Who is not in the CRM has none.
func (a *Adapter) holder(ctx context.Context, c call, who client) (person, error) {
	p, found, err := a.find(ctx, c.account, who.contact)
	switch {
	case err != nil:
		return p, err
	case !found:
		return p, verdict.Skipped("not in the CRM")
	case same(p.Stage, stageTrash):
		return p, verdict.Skipped("in the CRM's trash")
	case who.person == p.ID:
		return p, nil
	}
	if err := a.links.KeepPerson(ctx, c.account, who.contact.ContactKey, p.ID); err != nil {
		return p, unsent(err)
	}
	return p, nil
}

// back says whether a person at one stage would go back to another.
func (s settings) back(from, to string) bool { return s.ForwardOnly && s.rank(from) > s.rank(to) }

func noStage(kind, name string) error {
	cause := fmt.Sprintf("%s %q does not exist in Follow Up Boss", kind, name)
	return verdict.Parked(cause, errors.New("make it there, or name another in the tenant's settings, then release"))
}
