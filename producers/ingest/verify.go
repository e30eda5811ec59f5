package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"conveyance/avro/event"
	"conveyance/internal/fault"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

// verify says why a delivery is none, or nothing where it is one.
func (d *Door) verify(r *http.Request, token string, in *delivery) (reason string) {
	endpoint, known := d.endpoints.Endpoint(r.Context(), in.vendor.Name, token)
	keys := live(endpoint.Keys, in.at)
	id, err := in.vendor.Webhook.Verify(r.Header, in.body, keys)
	if !known || err != nil {
		d.evenOut(r, in, len(keys))
	}
	switch {
	case !known:
		return "unknown token"
	case err != nil:
		d.watch.refused(accountOf(endpoint.Account), in.at)
		switch {
		case len(keys) == 0:
			return "no live key"
		case len(in.headers) == 0:
			return "unsigned"
		}
		return "signature"
	}
	in.endpoint, in.key = endpoint, id
	var account string
	in.id, account = named(in.vendor.Webhook, in.body)
	if theirs := endpoint.Account.ExternalID; account != "" && theirs != "" && !strings.EqualFold(account, theirs) {
		if fault.Broken("tenant from body") {
			in.endpoint.Account = d.watch.named(r.Context(), account)
			return ""
		}
		return "another account"
	}
	d.watch.came(accountOf(endpoint.Account), id, in.at)
	return ""
}

// live are the keys that count now: mostly all.
func live(all []tenant.WebhookKey, now time.Time) []tenant.WebhookKey {
	if !slices.ContainsFunc(all, func(k tenant.WebhookKey) bool { return !k.Live(now) }) {
		return all
	}
	keys := make([]tenant.WebhookKey, 0, len(all))
	for _, k := range all {
		if k.Live(now) {
			keys = append(keys, k)
		}
	}
	return keys
}

// evenOut makes every refusal the same work: what was tried with some keys, or with none since the
// token is nobody's, is tried with further ones that sign nothing, up to the most that any account was
// seen with.
func (d *Door) evenOut(r *http.Request, in *delivery, tried int) {
	most := int(d.keysTried.Load())
	if tried > most {
		d.keysTried.Store(int32(tried)) //nolint:gosec // G115: a few keys; of two that race the next one wins
	}
	var rest []tenant.WebhookKey
	for range most - tried {
		rest = append(rest, tenant.WebhookKey{Key: d.dummy})
	}
	_, _ = in.vendor.Webhook.Verify(r.Header, in.body, rest) // whatever it says
}

// idBytesMax of a delivery's id: it becomes a key and a header of the record.
const idBytesMax = 256

// named is what a signed body says of itself. One that cannot be read, or whose id is no id, is told
// apart by its bytes: nothing that is signed is lost, and intake parks what it does not understand.
func named(w producers.Webhook, body []byte) (id, account string) {
	id, account, err := w.Whose(body)
	odd := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if err != nil || id == "" || len(id) > idBytesMax || strings.ContainsFunc(id, odd) {
		sum := sha256.Sum256(body)
		id = "sha256:" + hex.EncodeToString(sum[:])
	}
	return id, account
}

// reject answers 401: whatever the reason, the same bytes after the same time.
func (d *Door) reject(w http.ResponseWriter, r *http.Request, in *delivery, reason string, whole time.Time) {
	d.metrics.answered(in.vendor.Name, reason, time.Since(in.began))
	timer := time.NewTimer(d.cfg.RejectAfter - time.Since(whole))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
	w.WriteHeader(http.StatusUnauthorized)
}

// record is what goes on the bus.
func (in *delivery) record() *event.WebhookReceived {
	a := in.endpoint.Account
	return &event.WebhookReceived{
		Tenant: a.Tenant, Vendor: a.Vendor, Account: a.Name, DeliveryID: in.id,
		ReceivedAt: in.at.UTC().Truncate(time.Millisecond), Headers: in.headers, VerifiedBy: in.key, Body: in.body,
	}
}

// recordKey is account and delivery id: all attempts of one delivery lie in one partition, in order.
func recordKey(w *event.WebhookReceived) string {
	return w.Tenant + "/" + w.Vendor + "/" + w.Account + "/" + w.DeliveryID
}

// keptBytesMax bounds the headers that are kept, names included: a hundred signatures are 10 KiB.
const keptBytesMax = recordBytes / 2

// kept are the headers that verifications read: signatures, digests, and what is signed beside the
// body. Credentials, cookies and what proxies add are not among them.
func kept(h http.Header) []event.Header {
	names := make([]string, 0, 4)
	for name := range h {
		if signs(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	all := make([]event.Header, 0, len(names))
	left := keptBytesMax
	for _, name := range names {
		for _, v := range h[name] {
			v = strings.ToValidUTF8(v, string(utf8.RuneError))
			if left -= len(name) + len(v); left < 0 {
				return all
			}
			all = append(all, event.Header{Name: name, Value: v})
		}
	}
	return all
}

// signs knows a header by a word of its name, as net/http writes names.
func signs(name string) bool {
	for _, word := range [...]string{"Signature", "Digest", "Timestamp", "Webhook"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
