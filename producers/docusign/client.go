package docusign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/vendorjson"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

const (
	// included is what an envelope is asked for with, alone and in a list.
	included = "recipients,custom_fields,documents"
	// pageSize is of a list: 100 envelopes with their recipients are below 1 MiB.
	pageSize = 100
	// pagesMax ends a list that never ends: ten windows' worth of a busy account.
	pagesMax = 500

	// limitedFor is how long an account is left alone that DocuSign says has used up a window: its
	// shorter one. The budget knows from the same answer where the hour is used up.
	limitedFor = 30 * time.Second

	// causeUnreadable is an answer with status 200 that is no JSON, or cut off: a maintenance page.
	causeUnreadable = "vendor answer unreadable"
	// causeOther is an answer about another record than the one that was asked for: a cache's slip.
	causeOther = "vendor answered another record"
	// causePolled is DocuSign's own refusal of too many reads of one envelope.
	causePolled = "vendor's polling rule"
	causeLimit  = "vendor limit reached"
)

// client makes DocuSign's calls, with an account's access token.
type client struct{ do vendorhttp.Doer }

// call makes a request below the account's path. A 400 comes back with its error code, since DocuSign
// says with it what others say by a status; a code that the caller does not know is an error.
func (c client) call(
	ctx context.Context, a tenant.Account, r vendorhttp.Request, codes ...string,
) (answer producers.Record, code string, err error) {
	r.Path = "/restapi/v2.1/accounts/" + url.PathEscape(a.ExternalID) + r.Path
	r.Bearer = true
	r.Answers, r.Readable = []int{http.StatusBadRequest, http.StatusNotFound}, json.Valid
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Accept", "application/json")
	resp, err := c.do.Do(ctx, a, r)
	if err != nil {
		return producers.Record{}, "", err
	}
	answer, err = object(resp.Body)
	if resp.Status == http.StatusBadRequest || resp.Status == http.StatusNotFound {
		return producers.Record{}, known(answer, codes), refusal(a, r, resp.Status, answer, codes)
	}
	if err != nil || !answer.Exists() {
		return producers.Record{}, "", unreadable(r)
	}
	return answer, "", nil
}

func unreadable(r vendorhttp.Request) error {
	return verdict.RetryAfter(0, causeUnreadable, fmt.Errorf("reading the answer to %s %s: it is no JSON", r.Method, r.Path))
}

// known returns the answer's error code where the caller knows it.
func known(answer producers.Record, codes []string) string {
	if code := answer.Text("errorCode"); slices.Contains(codes, code) {
		return code
	}
	return ""
}

// refusal is the verdict on a 400 or 404 whose code the caller does not know.
func refusal(a tenant.Account, r vendorhttp.Request, status int, answer producers.Record, codes []string) error {
	code := strings.ToUpper(answer.Text("errorCode"))
	at := fmt.Errorf("calling %s %s: status %d, code %q", r.Method, r.Path, status, code[:min(len(code), codeBytesMax)])
	scope := verdict.AccountScope(a.Tenant, a.Vendor, a.Name)
	switch {
	case known(answer, codes) != "":
		return nil
	case code == "HOURLY_ENVELOPE_POLLING_LIMIT_EXCEEDED":
		return verdict.Held(verdict.ScopeKey, now().Add(again), causePolled, at)
	case code == "BURST_APIINVOCATION_LIMIT_EXCEEDED", code == "HOURLY_APIINVOCATION_LIMIT_EXCEEDED":
		return verdict.Held(scope, now().Add(limitedFor), causeLimit, at)
	case !answer.Exists():
		return verdict.RetryAfter(0, causeUnreadable, at)
	}
	return verdict.Parked(fmt.Sprintf("vendor refused %d", status), at)
}

// codeBytesMax bounds what is repeated of an error code.
const codeBytesMax = 60

// goneCode is how DocuSign says that an account has no such envelope.
const goneCode = "ENVELOPE_DOES_NOT_EXIST"

// envelope reads one envelope, with its recipients, fields and the names of its documents; found is
// false where the account has none of that id.
func (c client) envelope(ctx context.Context, a tenant.Account, id string) (answer producers.Record, found bool, err error) {
	answer, code, err := c.call(ctx, a, vendorhttp.Request{
		Method: http.MethodGet, Path: "/envelopes/" + url.PathEscape(id), Query: url.Values{"include": {included}},
	}, goneCode)
	if err != nil || code != "" {
		return producers.Record{}, false, err
	}
	switch got := strings.ToLower(answer.Text("envelopeId")); {
	case got == "":
		return producers.Record{}, false, broken("/envelopeId", "is missing")
	case got != id:
		return producers.Record{}, false, verdict.RetryAfter(0, causeOther,
			errors.New("reading an envelope: the answer names another one"))
	}
	return answer, true, nil
}

// page is a part of a list.
type page struct {
	envelopes []vendorjson.Value
	total     int // of the whole list, when the page was made
}

// list reads one page of the envelopes whose status changed since from and, unless it is zero, until
// to, those that changed first coming first. Pages are asked for by their position, never by the
// address in an answer.
func (c client) list(ctx context.Context, a tenant.Account, from, to time.Time, start int) (page, error) {
	query := url.Values{
		"from_date": {from.UTC().Format(time.RFC3339Nano)}, "status": {"any"}, "include": {included},
		"order_by": {"status_changed"}, "order": {"asc"},
		"count": {strconv.Itoa(pageSize)}, "start_position": {strconv.Itoa(start)},
	}
	if !to.IsZero() {
		query.Set("to_date", to.UTC().Format(time.RFC3339Nano))
	}
	answer, _, err := c.call(ctx, a, vendorhttp.Request{Method: http.MethodGet, Path: "/envelopes", Query: query})
	if err != nil {
		return page{}, err
	}
	var p page
	for _, item := range answer.Get("envelopes").Members() {
		p.envelopes = append(p.envelopes, item)
	}
	total := answer.Text("totalSetSize")
	if p.total, err = strconv.Atoi(total); err != nil {
		if total != "" || len(p.envelopes) > 0 {
			return page{}, broken("/totalSetSize", "is no number")
		}
		p.total = 0 // an empty list is written without its sizes
	}
	return p, nil
}

// broken is the verdict on an answer that breaks the vendor's contract before its record has a name.
func broken(path, why string) error {
	return verdict.Parked("contract broken: "+path, &producers.ContractError{Path: path, Why: why})
}

// Fetch implements producers.Fetcher: one GET. Where DocuSign knows no such envelope, or says that it
// was deleted or purged, the answer is a tombstone. An answer that is no JSON, cut off, or about
// another envelope, is a retry.
func (s *Source) Fetch(ctx context.Context, a tenant.Account, r event.Resource) (event.VendorSnapshot, error) {
	readAt := now()
	answer, found, err := s.client.envelope(ctx, a, r.ID)
	if err != nil {
		return event.VendorSnapshot{}, err
	}
	if !found {
		return event.VendorSnapshot{Resource: r, ReadAt: readAt, Gone: true}, nil
	}
	defer answer.Free()
	e := readEnvelope(answer)
	if e.version == 0 && !e.gone {
		return event.VendorSnapshot{}, broken("/statusChangedDateTime", "is missing")
	}
	return snapshot(r, e, answer.Value, readAt, now()), nil
}
