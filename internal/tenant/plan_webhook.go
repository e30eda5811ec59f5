package tenant

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"
)

// endpoint draws an account's address where it has none, or one that a lost key sealed. That is news
// of an account that was there before, and part of a new one.
func (p *planner) endpoint(tenant string, a WantedAccount, old Account, there bool) {
	if there && old.WebhookToken != "" {
		return
	}
	key := tenant + "/" + a.Key()
	if _, drawn := p.known.hashes[key]; drawn {
		p.change(tenant, "webhook", a.Key(), "change", "another address: no key opens the old one")
	} else if there {
		p.change(tenant, "webhook", a.Key(), "add", "its address")
	}
	token := newWebhookToken()
	hash := sha256.Sum256([]byte(token))
	p.steps = append(p.steps, step{
		sql: sqlPutEndpoint, args: []any{tenant, a.Vendor, a.Name, nil, hash[:]},
		secret: []byte(token), of: endpointOf(key),
	})
}

// webhookKeys makes one keyring as it is wanted. A key is its id: other bytes under the same id are
// a change, so that a rotation is a second key.
func (p *planner) webhookKeys(of keyring, name string, wanted []WantedWebhookKey) {
	old := map[string]WebhookKey{}
	for _, k := range p.known.keys[of] {
		old[k.ID] = k
	}
	for _, k := range wanted {
		k.NotBefore = k.NotBefore.UTC().Truncate(time.Microsecond) // as Postgres keeps it
		k.NotAfter = k.NotAfter.UTC().Truncate(time.Microsecond)
		before, there := old[k.ID]
		what := differ("not_before", day(before.NotBefore), day(k.NotBefore), "not_after", day(before.NotAfter), day(k.NotAfter))
		if there && !bytes.Equal(before.Key, k.Key) {
			what = append(what, "from "+k.Source)
		}
		switch {
		case !there:
			p.change(of.tenant, "webhook key", name+"/"+k.ID, "add", append([]string{"from " + k.Source}, what...)...)
		case len(what) > 0:
			p.change(of.tenant, "webhook key", name+"/"+k.ID, "change", what...)
		default:
			continue
		}
		p.steps = append(p.steps, step{
			sql:    sqlPutWebhookKey,
			args:   []any{of.vendor, of.tenant, of.account, k.ID, nil, k.Source, orNull(k.NotBefore), orNull(k.NotAfter), p.by},
			secret: k.Key, of: webhookKeyOf(of, k.ID),
		})
	}
	for _, k := range p.known.keys[of] {
		if !slices.ContainsFunc(wanted, func(w WantedWebhookKey) bool { return w.ID == k.ID }) {
			p.change(of.tenant, "webhook key", name+"/"+k.ID, "remove")
			p.steps = append(p.steps, step{sql: sqlDropWebhookKey, args: []any{of.vendor, of.tenant, of.account, k.ID}})
		}
	}
}

// day is an instant in a change; empty where there is none.
func day(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Format(time.RFC3339Nano)
}

// orNull is typed: a bare nil is the place of a secret.
func orNull(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}
