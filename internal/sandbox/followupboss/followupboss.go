// Package followupboss is the simulated Follow Up Boss API, version 1: people, deals, notes, events
// and the account's settings, behind an API key, with sliding windows of ten seconds by context.
//
// An account opens with stages and a pipeline that hold every name its tenant's configuration uses,
// a user for each of the tenant's agents, and the deal field customConveyanceKey. Where the real
// one's behaviour is not known, this one does what is harder on a client: POST /people makes
// duplicates unless deduplicate=true, and with it two requests at one moment still do
// (world.Base.StrictDedupe); a person that deduplicate finds keeps its fields and only gains e-mails
// and phones; unknown fields, stages, users and people are refused; filters it does not know are
// ignored. A deleted person goes to the Trash stage, where searches and deduplication pass it by.
package followupboss

import (
	"net/http"
	"sync"

	"conveyance/internal/sandbox/quota"
	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/reply"
	"conveyance/internal/sandbox/world"
)

// Kinds of records.
const (
	People           = "people"
	Deals            = "deals"
	Notes            = "notes"
	Events           = "events"
	Stages           = "stages"
	Pipelines        = "pipelines"
	Users            = "users"
	CustomFields     = "customFields"
	DealCustomFields = "dealCustomFields"
)

type api struct {
	base    world.Base
	byKey   map[string]world.Account // by API key
	windows quota.Windows
	dedupe  sync.Mutex // held from the look to the new person where StrictDedupe is set
}

type handler func(http.ResponseWriter, *http.Request, world.Account)

// New makes the vendor and opens its accounts.
func New(base world.Base) (world.Vendor, error) {
	f := &api{base: base, byKey: map[string]world.Account{}}
	for _, t := range base.Tenants {
		for _, a := range world.Accounts([]world.Tenant{t}, "followupboss") {
			if err := f.open(a, t.FollowUpBoss); err != nil {
				return world.Vendor{}, err
			}
		}
	}
	return world.Vendor{
		Name: "followupboss", Handler: f.routes(), Caller: f.caller, Refuse: refuse,
		Kinds: []string{People, Deals, Notes, Events, Stages, Pipelines, Users, CustomFields, DealCustomFields}, Put: f.put,
	}, nil
}

func (f *api) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /v1/identity":              f.identity,
		"GET /v1/people":                f.listPeople,
		"POST /v1/people":               f.createPerson,
		"GET /v1/people/checkDuplicate": f.checkDuplicate,
		"GET /v1/people/{id}":           f.one(People),
		"PUT /v1/people/{id}":           f.updatePerson,
		"DELETE /v1/people/{id}":        f.trashPerson,
		"GET /v1/deals":                 f.listDeals,
		"POST /v1/deals":                f.createDeal,
		"GET /v1/deals/{id}":            f.one(Deals),
		"PUT /v1/deals/{id}":            f.updateDeal,
		"DELETE /v1/deals/{id}":         f.delete(Deals),
		"POST /v1/notes":                f.createNote,
		"GET /v1/notes/{id}":            f.one(Notes),
		"PUT /v1/notes/{id}":            f.updateNote,
		"DELETE /v1/notes/{id}":         f.delete(Notes),
		"GET /v1/events":                f.listEvents,
		"POST /v1/events":               f.createEvent,
		"GET /v1/events/{id}":           f.one(Events),
		"GET /v1/stages":                f.all(Stages, "stages"),
		"POST /v1/stages":               f.createStage,
		"GET /v1/stages/{id}":           f.one(Stages),
		"GET /v1/pipelines":             f.all(Pipelines, "pipelines"),
		"GET /v1/pipelines/{id}":        f.one(Pipelines),
		"PUT /v1/pipelines/{id}":        f.updatePipeline,
		"GET /v1/users":                 f.all(Users, "users"),
		"GET /v1/users/{id}":            f.one(Users),
		"GET /v1/customFields":          f.all(CustomFields, "customfields"),
		"POST /v1/customFields":         f.createField(CustomFields),
		"GET /v1/dealCustomFields":      f.all(DealCustomFields, "dealcustomfields"),
		"POST /v1/dealCustomFields":     f.createField(DealCustomFields),
		"GET /v1/rateLimit/limits":      f.limits,
		"GET /v1/rateLimit/usage":       f.usage,
		"/":                             func(w http.ResponseWriter, _ *http.Request, _ world.Account) { missing(w, "resource") },
	} {
		mux.HandleFunc(pattern, f.within(h))
	}
	return mux
}

func refuse(w http.ResponseWriter, status int, why string) {
	reply.JSON(w, status, map[string]any{"errorMessage": why})
}

func missing(w http.ResponseWriter, what string) {
	refuse(w, http.StatusNotFound, "The "+what+" was not found.")
}

// caller is whose API key a request carries: the user name of Basic authentication, with no password.
func (f *api) caller(r *http.Request) world.Account {
	key, _, _ := r.BasicAuth()
	return f.byKey[key]
}

// registered says whether a request names its system with a key: only such systems have the full
// quota. Where the account's credential holds a system key, it must be that one.
func registered(r *http.Request, a world.Account) bool {
	system, key := r.Header.Get("X-System"), r.Header.Get("X-System-Key")
	want := a.Credential["x_system_key"]
	return system != "" && key != "" && (want == "" || want == key)
}

func (f *api) one(kind string) handler {
	return func(w http.ResponseWriter, r *http.Request, a world.Account) {
		rec := f.base.Records.As(r.Context()).Get(key(a, kind, r.PathValue("id")))
		if !rec.Exists() {
			missing(w, kind)
			return
		}
		reply.JSON(w, http.StatusOK, fields(rec.Body, r.URL.Query().Get("fields")))
	}
}

func (f *api) delete(kind string) handler {
	return func(w http.ResponseWriter, r *http.Request, a world.Account) {
		was, err := f.base.Records.Delete(key(a, kind, r.PathValue("id")))
		switch {
		case err != nil:
			refuse(w, http.StatusInternalServerError, err.Error())
		case !was:
			missing(w, kind)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}
}

func key(a world.Account, kind, id string) records.Key {
	return records.Key{Account: a.Key(), Kind: kind, ID: id}
}
