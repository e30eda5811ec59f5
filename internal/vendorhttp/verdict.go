package vendorhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"conveyance/internal/budget"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

const (
	causeRefused = "account refused"
	// deniedFor is when a base whose name pointed to a forbidden address is looked up again.
	deniedFor = 5 * time.Minute
)

type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string { return fmt.Sprintf("body is larger than %d bytes", e.limit) }

// callError is a call without a usable answer. Its text has neither query nor host; the cause stays
// reachable for errors.Is.
type callError struct {
	method, path, text string
	err                error
}

func (e *callError) Error() string {
	return fmt.Sprintf("calling %s %s: %s", e.method, e.path, e.text)
}
func (e *callError) Unwrap() error { return e.err }

// repeatable methods change nothing at a vendor, so that an unknown outcome does no harm.
func repeatable(method string) bool {
	return method == "" || method == http.MethodGet || method == http.MethodHead
}

// unanswered is the verdict on a call that ended without a whole answer.
func unanswered(ctx context.Context, a tenant.Account, r Request, sent bool, err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err // the outer one prints the URL
	}
	_, large := errors.AsType[*tooLargeError](err)
	at := &callError{r.Method, r.Path, scrub(err.Error(), r, a), err}
	switch {
	case denied(err):
		return verdict.Held(scope(a), time.Now().Add(deniedFor), "vendor address not allowed", at)
	case errors.Is(err, errBadRequest):
		return verdict.Parked("request malformed", at)
	case !sent && context.Cause(ctx) != nil:
		return at // the caller's shutdown or deadline, before anything happened
	case !sent:
		return verdict.RetryAfter(0, "vendor unreachable", at)
	case large && repeatable(r.Method):
		return verdict.Parked("vendor answer too large", at)
	case large:
		return verdict.Doubtful("vendor answer too large", at)
	case repeatable(r.Method):
		return verdict.RetryAfter(0, "no answer from vendor", at)
	}
	return verdict.Doubtful("no answer from vendor", at)
}

// judgeStatus is the verdict on an answer that is neither a success nor one that the caller
// understands, but for 401 and 403.
func judgeStatus(g *gate, a tenant.Account, r Request, resp Response, started, now time.Time) error {
	err := statusError(r, resp, a)
	wait, told := budget.RetryAfter(resp.Header, now)
	switch status := resp.Status; {
	case status == http.StatusTooManyRequests:
		if !told {
			wait = budget.LimitedFor
		}
		return verdict.Held(scope(a), now.Add(g.limit(wait, started, now)), "vendor limit reached", err)
	case status == http.StatusTooEarly, status == http.StatusServiceUnavailable && told:
		return verdict.RetryAfter(wait, fmt.Sprintf("vendor answered %d", status), err)
	case status == http.StatusRequestTimeout, status >= 500:
		if repeatable(r.Method) {
			return verdict.RetryAfter(wait, fmt.Sprintf("vendor answered %d", status), err)
		}
		return verdict.Doubtful(fmt.Sprintf("vendor answered %d", status), err)
	case status >= 300 && status <= 399:
		return verdict.Parked("vendor redirected", err)
	}
	return verdict.Parked(fmt.Sprintf("vendor refused %d", resp.Status), err)
}

func statusError(r Request, resp Response, a tenant.Account) error {
	at := fmt.Sprintf("calling %s %s: status %d", r.Method, r.Path, resp.Status)
	if text := scrub(string(resp.Body), r, a); text != "" {
		at += ": " + text
	}
	return errors.New(at)
}
