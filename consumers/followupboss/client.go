package followupboss

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

const (
	// pageMax is how many records the vendor puts into one page at most.
	pageMax = 100
	// pagesMax bounds a search: 2,000 records of one person, or the account's newest ones.
	pagesMax = 20
)

// crm speaks the vendor's API. Errors of get and pages mean that nothing was changed.
type crm struct{ http vendorhttp.Doer }

// get reads one record into out, and returns false where there is none.
func (c crm) get(ctx context.Context, a tenant.Account, path string, q url.Values, out any) (bool, error) {
	return c.read(ctx, a, path, q, out, http.StatusNotFound)
}

// read is get for an answer that may be missing only where answers hold 404: a list never is.
func (c crm) read(ctx context.Context, a tenant.Account, path string, q url.Values, out any, answers ...int) (bool, error) {
	r, err := c.http.Do(ctx, a, vendorhttp.Request{
		Method: http.MethodGet, Path: path, Query: q, Header: header(a), Answers: answers, Readable: json.Valid,
	})
	if err != nil || r.Status == http.StatusNotFound {
		return false, err
	}
	if err := json.Unmarshal(r.Body, out); err != nil {
		return false, unreadable(fmt.Errorf("reading the answer to GET %s: %w", path, err))
	}
	return true, nil
}

// write changes or makes one record and returns its id; 0 where the vendor has nothing to say.
func (c crm) write(ctx context.Context, a tenant.Account, method, path string, q url.Values, body any) (int64, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, verdict.Parked("record has no JSON", fmt.Errorf("encoding %s %s: %w", method, path, err))
	}
	h := header(a)
	h.Set("Content-Type", "application/json")
	r, err := c.http.Do(ctx, a, vendorhttp.Request{
		Method: method, Path: path, Query: q, Header: h, Body: text, Bucket: bucket(method, path), Readable: written,
	})
	if err != nil || r.Status == http.StatusNoContent {
		return 0, err
	}
	var made struct {
		ID int64 `json:"id"`
	}
	if err := json.Unmarshal(r.Body, &made); err != nil || made.ID == 0 {
		err := fmt.Errorf("reading the answer to %s %s: status %d without an id", method, path, r.Status)
		return 0, verdict.Doubtful("vendor answer unreadable", err)
	}
	return made.ID, nil
}

// written says whether an answer to a write can be one; a 204 has no body.
func written(body []byte) bool { return len(body) == 0 || json.Valid(body) }

const (
	pathNotes = "/v1/notes"
	// The vendor's contexts, apart from all other calls: changes to people, 25 in 10 s, and notes, 10
	// in 10 s.
	bucketPeople = "PUT.people"
	bucketNotes  = "notes"
)

func bucket(method, path string) string {
	switch {
	case method == http.MethodPut && strings.HasPrefix(path, "/v1/people/"):
		return bucketPeople
	case path == pathNotes:
		return bucketNotes
	}
	return ""
}

// pages reads a list page by page, newest first, until each says that it has seen enough.
func pages[T any](
	ctx context.Context, c crm, a tenant.Account, path, collection string, q url.Values, each func(T) (enough bool),
) error {
	if q == nil {
		q = url.Values{}
	}
	q.Set("limit", strconv.Itoa(pageMax))
	for range pagesMax {
		var page map[string]json.RawMessage
		var meta struct {
			Next string `json:"next"`
		}
		var items []T
		if _, err := c.read(ctx, a, path, q, &page); err != nil {
			return err
		}
		err := json.Unmarshal(page[collection], &items)
		if err == nil && len(page["_metadata"]) > 0 {
			err = json.Unmarshal(page["_metadata"], &meta)
		}
		if err != nil {
			return unreadable(fmt.Errorf("reading the answer to GET %s: no %s", path, collection))
		}
		for _, item := range items {
			if each(item) {
				return nil
			}
		}
		if meta.Next == "" || len(items) == 0 {
			return nil
		}
		q.Set("next", meta.Next)
	}
	return nil
}

// unreadable is an answer to a read that says nothing; a page of an error in the vendor's front has
// status 200 at times.
func unreadable(err error) error { return verdict.RetryAfter(0, "vendor answer unreadable", err) }

func header(a tenant.Account) http.Header {
	h := http.Header{}
	for name, field := range map[string]string{"X-System": "x_system", "X-System-Key": "x_system_key"} {
		if v := a.Credential.Fields[field]; v != "" {
			h.Set(name, v)
		}
	}
	r := http.Request{Header: h}
	r.SetBasicAuth(a.Credential.Fields["api_key"], "")
	return h
}

func path(collection string, id int64) string {
	return "/v1/" + collection + "/" + strconv.FormatInt(id, 10)
}
