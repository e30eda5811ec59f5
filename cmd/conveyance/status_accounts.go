package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"conveyance/internal/tenant"
	"conveyance/processors/fetch"
	"conveyance/producers/ingest"
)

// silentPolls is how many polls of an account may come to nothing, and silentAfter the least time that
// they must take, before a person is told.
const (
	silentPolls = 3
	silentAfter = 10 * time.Minute
)

type accountStatus struct {
	Account string    `json:"account"`
	State   string    `json:"state"` // reconnect, refused, paused, silent or rotated secret?
	Cause   string    `json:"cause"`
	Since   time.Time `json:"since"`
	Remedy  string    `json:"remedy"`
	Link    string    `json:"link,omitempty"` // where a person connects it again
}

// rotated is what a person does about signatures that no key made.
const rotated = "ask who changed the key at the vendor, put the new one into the tenant's file and run conveyance tenant apply"

func accountStates(ctx context.Context, pool *pgxpool.Pool) ([]accountStatus, error) {
	store, err := tenant.Open(ctx, pool, tenant.Schema, nil)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	all, err := store.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	polled, err := fetch.NewDesk(pool, fetch.Schema, store, time.Now).Polled(ctx)
	if err != nil {
		return nil, err
	}
	every := map[string]time.Duration{}
	for _, v := range vendors(nil) {
		every[v.Name] = v.PollEvery
	}
	out := []accountStatus{}
	for _, t := range all {
		for _, a := range t.Accounts {
			late := max(silentAfter, silentPolls*every[a.Vendor])
			if st, ok := accountState(t, a, polled[a.Key()], late); ok {
				out = append(out, st)
			}
		}
	}
	alarms, err := ingest.NewDesk(pool, ingest.Schema).Alarms(ctx, "", "", "")
	for _, a := range alarms {
		out = append(out, alarmState(a))
	}
	return out, err
}

// alarmState is what the door noticed of an account's webhooks.
func alarmState(a ingest.Alarm) accountStatus {
	key := a.Tenant + "/" + a.Vendor + "/" + a.Account
	st := accountStatus{key, a.Kind, a.Detail, a.Since, "conveyance tenant check " + a.Tenant + " asks the vendor whether it still sends them", ""}
	if a.Kind == ingest.KindRotated {
		st.Remedy = rotated
	}
	return st
}

// accountState is what a person should know of an account; false where there is nothing. A zero polled
// is an account that has no list of changes, or whose history is still being read.
func accountState(t tenant.Tenant, a tenant.Account, polled time.Time, late time.Duration) (accountStatus, bool) {
	key, h := a.Key(), a.Health
	switch {
	case h.Reconnect() != "":
		return accountStatus{key, "reconnect", "the vendor wants a person's consent", h.Since, "connect it again: " + h.Reconnect(), h.Reconnect()}, true
	case h.Refused:
		return accountStatus{key, "refused", h.Cause, h.Since, "mend the credential and run conveyance tenant apply; it is tried by itself too", ""}, true
	case t.Paused:
		return accountStatus{key, "paused", "brokerage paused by hand", t.PausedAt, "conveyance tenant resume " + t.ID, ""}, true
	case a.Paused:
		return accountStatus{key, "paused", "paused by hand", a.PausedAt, "conveyance tenant resume " + key, ""}, true
	case !polled.IsZero() && time.Since(polled) > late:
		return accountStatus{key, "silent", "no list of its changes was read to the end", polled, "see whether fetch runs, and conveyance why " + key, ""}, true
	}
	return accountStatus{}, false
}
