// Package skyslope is SkySlope's Suite API as a source: the files of sales of one brokerage. SkySlope
// sends no webhooks, so an account is polled for what was modified; the list holds whole files, and
// each is a fact at once. A fact has two parts: the sale as it stands in the answer, and the users
// (agents) whom it names.
//
// It logs in by HMAC, keeps the session until shortly before its end, and renews it once when the
// vendor refuses it. It knows the vendor's quirks: dates without zone (read as UTC where an instant
// is meant, kept as days else), the year 1 for none, amounts as texts, byte order marks and control
// characters within JSON. It writes nothing to SkySlope.
package skyslope

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

const (
	// Name is the vendor's: folder, URL, log field.
	Name = "skyslope"
	// KindSale is the one kind of record: the file of a sale.
	KindSale = "sale"
	// pollEvery is the time between two polls of an account: a change is a fact within seconds, for
	// 12 calls a minute. SkySlope publishes no limit; the account's budget learns of one.
	pollEvery = 5 * time.Second
	// checkSpan is how far back a check lists: it only has to be answered.
	checkSpan = time.Hour
)

var (
	//go:embed schema/sale.json
	saleSchema []byte
	//go:embed schema/agents.json
	agentsSchema []byte
	//go:embed schema/account.json
	accountSchema []byte
)

// Source reads SkySlope. It is safe for concurrent use.
type Source struct {
	client *client
	sale   *producers.Contract
	agents *producers.Contract
}

// New returns the vendor's line of the register.
func New(d producers.Deps) (producers.Vendor, error) {
	sale, err := producers.NewContract(saleSchema)
	if err != nil {
		return producers.Vendor{}, fmt.Errorf("schema/sale.json: %w", err)
	}
	agents, err := producers.NewContract(agentsSchema)
	if err != nil {
		return producers.Vendor{}, fmt.Errorf("schema/agents.json: %w", err)
	}
	s := &Source{client: newClient(d.HTTP), sale: sale, agents: agents}
	return producers.Vendor{
		Name: Name, Poller: s, Fetcher: s, Mapper: s, Checker: s,
		Kinds: []string{KindSale}, PollEvery: pollEvery, AccountSchema: accountSchema,
	}, nil
}

// Fetch reads one sale and its agents, both or none. Where SkySlope answers 404 it is a tombstone.
func (s *Source) Fetch(ctx context.Context, a tenant.Account, r event.Resource) (event.VendorSnapshot, error) {
	readAt := now()
	raw, found, err := s.client.sale(ctx, a, r.ID)
	if err != nil {
		return event.VendorSnapshot{}, err
	}
	if !found {
		return event.VendorSnapshot{Resource: r, ReadAt: readAt, Gone: true}, nil
	}
	item, err := readSale(raw)
	if err != nil {
		return event.VendorSnapshot{}, err
	}
	users, err := s.client.users(ctx, a)
	if err != nil {
		return event.VendorSnapshot{}, err
	}
	return snapshot(r, readAt, item, users), nil
}

// snapshot puts a fact together. The list writes objectType where the single answer may not: it
// says nothing of the sale, and does not count for its digest.
func snapshot(r event.Resource, readAt time.Time, item saleItem, users map[string]json.RawMessage) event.VendorSnapshot {
	parts := []event.Part{
		{Name: partSale, Status: 200, FetchedAt: now(), Body: item.raw},
		{Name: partAgents, Status: 200, FetchedAt: now(), Body: agentsBody(item.agents, users)},
	}
	return event.VendorSnapshot{
		Resource: r, Version: item.modified.UnixMilli(), ReadAt: readAt,
		Digest: producers.Digest(parts, "objectType"), Parts: parts,
	}
}

// agentsBody is the users whom a sale names and the vendor knows, by their ids, each as it came.
func agentsBody(named []string, users map[string]json.RawMessage) []byte {
	body := []byte(`{"users":[`)
	sep := ""
	for _, guid := range slices.Compact(slices.Sorted(slices.Values(named))) {
		if u, ok := users[guid]; ok {
			body = append(append(body, sep...), u...)
			sep = ","
		}
	}
	return append(body, `]}`...)
}

// Check logs in and lists what changed within the last hour.
func (s *Source) Check(ctx context.Context, t tenant.Tenant, a tenant.Account) ([]tenant.Finding, error) {
	_, err := s.client.sales(ctx, a, now().Add(-checkSpan), time.Time{})
	if v := verdict.Of(err); v != nil && v.Kind == verdict.Hold && v.Cause == causeRefused {
		return []tenant.Finding{{
			Tenant: t.ID, Account: a.Key(), What: "SkySlope refuses the login or the list of files",
			Remedy: "compare client_id, client_secret, access_key and access_secret with those in SkySlope, " +
				"and the rights of the key's user",
		}}, nil
	}
	return nil, err
}

// now is our clock as events carry it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
