// Package vendorhttp is the one way in which the bus calls a vendor: within the account's budget,
// to the account's configured base and nowhere else (the dialled address is checked after DNS), with
// bounded time and bytes, no redirects and no proxy from the environment. It says what each failure
// means for the record in hand, by verdict, and whether a request may have been carried out. It
// repeats nothing by itself: verdicts do.
package vendorhttp

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"conveyance/internal/budget"
	"conveyance/internal/tenant"
)

const (
	// BodyBytesMax is the default limit of an answer, decompressed: a page of 100 full deals is
	// below 2 MiB.
	BodyBytesMax = 10 << 20
	// Timeout is the default limit of a whole call, from DNS to the last byte.
	Timeout = 10 * time.Second
)

// Request is one call. Path is joined to the account's BaseURL; it is never a URL.
type Request struct {
	Method string
	Path   string // escaped: ids go through url.PathEscape
	Query  url.Values
	Header http.Header // with the credential; never logged
	Body   []byte
	Lane   string // budget.LaneLive or LaneBackfill; empty = budget.LaneOf the context
	// Bucket is the part of the vendor's API whose quota the call spends, where it has one of its own,
	// for example people.put. Empty = the account's.
	Bucket string
	// Answers are statuses beside 2xx that the caller understands as answers, for example 404.
	Answers []int
	// Readable says whether the body of a 2xx can be an answer at all. One that cannot, a proxy's page, is
	// returned like any other and counts as a call that failed. Nil = any body can.
	Readable func(body []byte) bool
	// Free calls (a login) spend no budget.
	Free bool
	// Bearer calls carry the account's access token, from Config.Tokens. One that is refused with 401
	// is renewed once and the call is made again: a refused call was not carried out.
	Bearer bool
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

// Tokens gives access tokens. Both methods may block for a call to the vendor's account server; their
// errors carry verdicts: an account whose consent has ended is held until it is connected again.
type Tokens interface {
	// Token returns a token that is good for at least the next minute.
	Token(ctx context.Context, a tenant.Account) (string, error)
	// Renew returns another token than the one that was refused.
	Renew(ctx context.Context, a tenant.Account, refused string) (string, error)
}

// Config of a client. One client serves every account of every vendor of a process.
type Config struct {
	// AllowLoopback lets accounts live at http or https on this machine, on any port: simulated
	// vendors. Without it only https, port 443 and public addresses are dialled.
	AllowLoopback bool
	// AllowHost is one host:port at which accounts may live in plain HTTP, whatever its address:
	// simulated vendors on a network of their own.
	AllowHost string
	// RootCAs are the authorities that may sign a vendor's certificate. Default: the system's.
	RootCAs *x509.CertPool
	// Budget is asked before each call that is not free, and learns from each answer. Default: none.
	Budget budget.Budget
	// Tokens gives the access tokens of calls with Bearer. Default: they hold the account.
	Tokens Tokens
	// Health hears of an account's refusal (each time that a probe is refused) and of its recovery
	// (once). It may block; the call waits for it. Default: nobody hears.
	Health func(ctx context.Context, a tenant.Account, refused bool, cause string)
	// Metrics may be shared by several clients. Default: none.
	Metrics prometheus.Registerer
	// BodyBytesMax limits an answer, in bytes. Default BodyBytesMax.
	BodyBytesMax int64
	// Timeout limits a call. Default Timeout.
	Timeout time.Duration
}
