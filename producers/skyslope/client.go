package skyslope

import (
	"bytes"
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

	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/vendorjson"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

const (
	// pagesMax ends a list that never ends: at the vendor's page of 50 it is more than any brokerage
	// changes in a window.
	pagesMax = 200
	// causeUnreadable is an answer with status 200 that is no JSON, or cut off: a maintenance page.
	causeUnreadable = "vendor answer unreadable"

	boundLayout = "2006-01-02T15:04:05.000"
)

// client makes SkySlope's calls in an account's session.
type client struct {
	do       vendorhttp.Doer
	sessions sessions
}

func newClient(do vendorhttp.Doer) *client {
	return &client{do: do, sessions: sessions{byID: map[string]*session{}}}
}

// saleItem is a sale as an answer holds it.
type saleItem struct {
	guid     string
	modified time.Time // on the vendor's clock, read as UTC
	agents   []string  // users whom it names
	raw      json.RawMessage
}

// get makes a GET. A session that is refused is renewed once; a new one that is refused is a refused
// account.
func (c *client) get(
	ctx context.Context, a tenant.Account, path string, query url.Values, answers ...int,
) (vendorhttp.Response, error) {
	token, err := c.session(ctx, a, "")
	if err != nil {
		return vendorhttp.Response{}, err
	}
	call := func(answers ...int) (vendorhttp.Response, error) {
		return c.do.Do(ctx, a, vendorhttp.Request{
			Method: http.MethodGet, Path: path, Query: query, Answers: answers, Readable: readable,
			Header: http.Header{"Session": {token}, "Accept": {"application/json"}},
		})
	}
	resp, err := call(append(slices.Clip(answers), http.StatusUnauthorized)...)
	if err != nil || resp.Status != http.StatusUnauthorized {
		return resp, err
	}
	if token, err = c.session(ctx, a, token); err != nil {
		return vendorhttp.Response{}, err
	}
	return call(answers...)
}

// sale reads one sale; found is false where SkySlope has none.
func (c *client) sale(ctx context.Context, a tenant.Account, guid string) (raw json.RawMessage, found bool, err error) {
	resp, err := c.get(ctx, a, "/api/files/sales/"+url.PathEscape(guid), nil, http.StatusNotFound)
	if err != nil || resp.Status == http.StatusNotFound {
		return nil, false, err
	}
	var answer struct {
		Value struct {
			Sale json.RawMessage `json:"sale"`
		} `json:"value"`
	}
	if err := decode(resp.Body, &answer); err != nil {
		return nil, false, err
	}
	if len(answer.Value.Sale) == 0 {
		return nil, false, broken(&producers.ContractError{Path: "/value/sale", Why: "is missing"})
	}
	return answer.Value.Sale, true, nil
}

// users reads all users of the brokerage, those who left included, by their ids.
func (c *client) users(ctx context.Context, a tenant.Account) (map[string]json.RawMessage, error) {
	resp, err := c.get(ctx, a, "/api/users", url.Values{"includeDeactivated": {"true"}})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Value struct {
			Users []json.RawMessage `json:"users"`
		} `json:"value"`
	}
	if err := decode(resp.Body, &answer); err != nil {
		return nil, err
	}
	users := make(map[string]json.RawMessage, len(answer.Value.Users))
	for _, raw := range answer.Value.Users {
		guid := producers.ReadRecord(raw).Text("userGuid")
		if guid == "" {
			return nil, broken(&producers.ContractError{Path: "/users/userGuid", Why: "is missing"})
		}
		users[guid] = raw
	}
	return users, nil
}

// sales lists the sales that were modified after from and, unless it is zero, before to, in the
// vendor's order. It follows pages by number, never by the link in the answer. A sale without name or
// time does not hide the others: its error comes together with them.
func (c *client) sales(ctx context.Context, a tenant.Account, from, to time.Time) ([]saleItem, error) {
	query := url.Values{"type": {"sale"}, "modifiedAfter": {from.Format(boundLayout)}}
	if !to.IsZero() {
		query.Set("modifiedBefore", to.Format(boundLayout))
	}
	var items []saleItem
	var nameless error
	for page := 1; page <= pagesMax; page++ {
		resp, err := c.get(ctx, a, "/api/files", query)
		if err != nil {
			return nil, err
		}
		files, more, err := readList(resp.Body)
		if err != nil {
			return nil, err
		}
		for _, raw := range files {
			if kind := producers.ReadRecord(raw).Text("objectType"); kind != "" && kind != "sale" {
				continue // a listing, or the summary at the end
			}
			if item, err := readSale(raw); err != nil {
				nameless = err
			} else {
				items = append(items, item)
			}
		}
		if !more || len(files) == 0 {
			return items, nameless
		}
		query.Set("pageNumber", strconv.Itoa(page+1))
	}
	return nil, verdict.Parked("vendor list has no end",
		fmt.Errorf("listing files of %s: more than %d pages", a.Key(), pagesMax))
}

// readList reads the list in each of the forms that were seen: a bare array, {"value":[…]} and
// {"value":{"sales":[…]},"links":[…]}; more where a next page is named.
func readList(body []byte) (files []json.RawMessage, more bool, err error) {
	body = bytes.TrimSpace(vendorjson.Clean(body))
	if bytes.HasPrefix(body, []byte("[")) {
		err = decode(body, &files)
		return files, false, err
	}
	var answer struct {
		Value json.RawMessage        `json:"value"`
		Links []struct{ Rel string } `json:"links"`
		Next  string                 `json:"nextLink"`
		OData string                 `json:"@odata.nextLink"`
	}
	if err := decode(body, &answer); err != nil {
		return nil, false, err
	}
	more = answer.Next != "" || answer.OData != ""
	for _, l := range answer.Links {
		more = more || l.Rel == "next"
	}
	if bytes.HasPrefix(answer.Value, []byte("[")) {
		err = decode(answer.Value, &files)
		return files, more, err
	}
	var value struct {
		Sales []json.RawMessage `json:"sales"`
	}
	if len(answer.Value) == 0 {
		return nil, false, broken(&producers.ContractError{Path: "/value", Why: "is missing"})
	}
	err = decode(answer.Value, &value)
	return value.Sales, more, err
}

// readSale reads what is needed to name, order and complete a sale.
func readSale(raw json.RawMessage) (saleItem, error) {
	r := producers.ReadRecord(raw)
	item := saleItem{guid: r.Text("saleGuid"), raw: raw}
	if item.guid == "" {
		return item, broken(&producers.ContractError{Path: "/saleGuid", Why: "is missing"})
	}
	modified := r.Time("modifiedOn")
	if modified == nil || modified.UnixMilli() <= 0 {
		return item, broken(&producers.ContractError{Path: "/modifiedOn", Why: "is missing"})
	}
	item.modified = *modified
	item.agents = append(r.Texts("coAgentGuids"), r.Text("agentGuid"))
	for split := range r.Many("commissionSplits") {
		item.agents = append(item.agents, split.First("agentGuid", "userGuid"))
	}
	return item, nil
}

func readable(body []byte) bool { return json.Valid(vendorjson.Clean(body)) }

func decode(body []byte, into any) error {
	err := json.Unmarshal(vendorjson.Clean(body), into)
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return broken(&producers.ContractError{
			Path: "/" + strings.ReplaceAll(typ.Field, ".", "/"), Why: "is " + typ.Value,
		})
	}
	if err != nil {
		return verdict.RetryAfter(0, causeUnreadable, errors.New("reading an answer: it is no JSON"))
	}
	return nil
}

// broken is the verdict on an answer that breaks the vendor's contract before its record has a name.
func broken(err *producers.ContractError) error {
	return verdict.Parked("contract broken: "+err.Path, err)
}
