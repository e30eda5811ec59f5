// Package followupboss keeps a brokerage's clients and deals in Follow Up Boss, a CRM without
// idempotency keys: a write is of class C, and is read back where its outcome is unknown. Notes are of
// class D: one whose answer was lost cannot be found, and waits for a person.
//
// People come from the events of contacts alone, and only from the brokerage's own side of a deal; a
// deal waits for the people it needs. What people in the CRM entered is never deleted: names are
// filled where empty, e-mails and phones are added, a deal loses only those whom we put on it. A
// person in the CRM's trash, and a deal that was deleted there, are left alone. POST /events, which
// writes to the client, is used only where the tenant's settings say so.
package followupboss

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/avro/event"
	"conveyance/consumers"
	"conveyance/internal/ledger"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

// Name is the destination's one name, and the vendor's.
const Name = "followupboss"

var (
	//go:embed migrations/*.sql
	migrations embed.FS
	//go:embed schema/settings.json
	settingsSchema []byte
	//go:embed schema/account.json
	accountSchema []byte
)

// Migrations of the tables of links.
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

// Destination is what this folder offers; the register adds what it reads.
func Destination() consumers.Destination {
	return consumers.Destination{
		Name: Name, Vendor: Name, Migrations: Migrations(),
		Adapter:        func(d consumers.Deps) (consumers.Adapter, error) { return New(d.Pool, d.Schema, d.HTTP), nil },
		SettingsSchema: slices.Clone(settingsSchema), AccountSchema: slices.Clone(accountSchema),
		Checker: func(d consumers.Deps) tenant.Checker { return New(d.Pool, d.Schema, d.HTTP) },
	}
}

// The verbs of the effects.
const (
	verbPerson = "person.upsert" // target: contact key
	verbDeal   = "deal.upsert"   // target: deal key
	verbStage  = "person.stage"  // target: contact key
	verbNote   = "note.create"   // target: envelope, document and contact key
)

// Adapter is a consumers.Adapter. It is safe for concurrent use.
type Adapter struct {
	crm   crm
	links links
	names *names
	plans consumers.Plans
	verbs map[string]verb
}

// verb is how an effect is applied and read back.
type verb struct {
	apply   func(context.Context, call) (ledger.Receipt, error)
	confirm func(context.Context, call) (ledger.Outcome, error)
}

// call is an effect on its way to an account.
type call struct {
	tenant   tenant.Tenant
	account  tenant.Account
	settings settings
	effect   ledger.Effect
}

// New returns an adapter whose links are in schema.
func New(pool *pgxpool.Pool, schema string, http vendorhttp.Doer) *Adapter {
	a := &Adapter{crm: crm{http}, links: newLinks(pool, schema), names: newNames()}
	a.plans = consumers.Plans{
		event.TypeContactChanged:           consumers.On(a.planContact),
		event.TypeDealChanged:              consumers.On(a.planDeal),
		event.TypeTransactionStatusChanged: consumers.On(a.planStatus),
		event.TypeDocumentSigned:           consumers.On(a.planSigned),
	}
	a.verbs = map[string]verb{
		verbPerson: {a.applyPerson, a.confirmPerson},
		verbDeal:   {a.applyDeal, a.confirmDeal},
		verbStage:  {a.applyStage, a.confirmStage},
		verbNote:   {a.applyNote, a.confirmNote},
	}
	return a
}

// Plan reads our links only; it never asks the vendor.
func (a *Adapter) Plan(ctx context.Context, t tenant.Tenant, e event.Event) ([]ledger.Effect, error) {
	return a.plans.Plan(ctx, t, e)
}

// Apply looks the record up and makes at most one write.
func (a *Adapter) Apply(
	ctx context.Context, t tenant.Tenant, _ event.Event, f ledger.Effect,
) (ledger.Receipt, error) {
	v, c, err := a.call(t, f)
	if err != nil {
		return ledger.Receipt{}, err
	}
	return v.apply(ctx, c)
}

// Confirm reads the record back, and remembers its id where the effect is in place.
func (a *Adapter) Confirm(
	ctx context.Context, t tenant.Tenant, _ event.Event, f ledger.Effect,
) (ledger.Outcome, error) {
	v, c, err := a.call(t, f)
	if err != nil {
		return ledger.CannotTell, err
	}
	return v.confirm(ctx, c)
}

func (a *Adapter) call(t tenant.Tenant, f ledger.Effect) (verb, call, error) {
	v, ok := a.verbs[f.Verb]
	if !ok {
		return v, call{}, verdict.Parked("verb unknown to this build", fmt.Errorf("verb %s", f.Verb))
	}
	s, err := settingsOf(t)
	if err != nil {
		return v, call{}, err
	}
	account, ok := t.Account(Name, t.Adapters[Name].Account)
	if !ok {
		return v, call{}, verdict.Held(verdict.TenantScope(t.ID), noTime, "account missing", nil)
	}
	return v, call{tenant: t, account: account, settings: s, effect: f}, nil
}
