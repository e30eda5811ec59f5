// Package vendorhttp is the one way in which the bus calls a vendor: within the account's budget,
// to the account's configured base and nowhere else (the dialled address is checked after DNS), with
// bounded time and bytes, no redirects and no proxy from the environment. It says what each failure
// means for the record in hand, by verdict, and whether a request may have been carried out.
package vendorhttp

import (
	"context"
	"net/http"
	"net/url"

	"conveyance/internal/tenant"
)

// Request is one call. Path is joined to the account's BaseURL; it is never a URL.
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Header http.Header // with the credential; never logged
	Body   []byte
	Lane   string // live or backfill; empty = live
	// Answers are statuses beside 2xx that the caller understands as answers, for example 404.
	Answers []int
	// Free calls (a login) spend no budget.
	Free bool
}

// Response is an answer with its body, read whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Doer makes calls; *Client is the one that does, and tests of leaves use it against a server.
type Doer interface {
	Do(ctx context.Context, a tenant.Account, r Request) (Response, error)
}
