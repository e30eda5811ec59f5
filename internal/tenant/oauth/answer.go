package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"conveyance/internal/budget"
	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
)

// errNoConsent means that a person has to consent, or to consent again.
var errNoConsent = errors.New("the vendor wants a person's consent")

// codes are the errors that account servers may name (RFC 6749, 4.1.2.1 and 5.2; OpenID Connect Core,
// 3.1.2.6; DocuSign's consent_required). Any other word is the vendor's own and never repeated.
var codes = []string{
	"access_denied", "consent_required", "interaction_required", "invalid_client", "invalid_grant", "invalid_request",
	"invalid_scope", "login_required", "server_error", "temporarily_unavailable", "unauthorized_client",
	"unsupported_grant_type", "unsupported_response_type",
}

// needConsent are those that a person's consent mends.
var needConsent = []string{"consent_required", "interaction_required", "invalid_grant", "login_required"}

// answerError is an account server's no, or its silence, without a word of what it said.
type answerError struct {
	code   string // one of codes, or empty
	status int    // 0 = no answer
	wait   time.Duration
	text   string
}

func (e *answerError) Error() string { return e.text }

// read takes of the library's error what may be told.
func read(err error) error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return &answerError{text: "the account server did not answer in time"}
		}
		return &answerError{text: "the account server gives no answer that is understood"}
	}
	e := &answerError{code: answer.ErrorCode, status: answer.Response.StatusCode}
	if e.code == "" { // the JWT flow leaves it in the body
		var body struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(answer.Body, &body)
		e.code = body.Error
	}
	if !slices.Contains(codes, e.code) {
		e.code = ""
	}
	e.wait, _ = budget.RetryAfter(answer.Response.Header, time.Now())
	e.text = strings.TrimSpace(fmt.Sprintf("the account server answered %d %s", e.status, e.code))
	return e
}

// refusal turns an error of an account server into what it means for the account.
func (t *Tokens) refusal(ctx context.Context, a tenant.Account, err error) error {
	if errors.Is(err, errNoConsent) {
		return &tenant.Refusal{Cause: tenant.CauseReconnect(t.link(ctx, a))}
	}
	e, ok := errors.AsType[*answerError](err)
	switch {
	case !ok:
		return err
	case slices.Contains(needConsent, e.code):
		return &tenant.Refusal{Cause: tenant.CauseReconnect(t.link(ctx, a))}
	case e.status == 0 || e.status == http.StatusRequestTimeout || e.status == http.StatusTooManyRequests ||
		e.status >= 500 || e.status < 300, e.code == "server_error", e.code == "temporarily_unavailable":
		return verdict.RetryAfter(e.wait, "no access token: the account server does not answer", e)
	case e.code != "":
		return &tenant.Refusal{Cause: "account refused: " + e.code}
	}
	return &tenant.Refusal{Cause: fmt.Sprintf("account refused: the account server answered %d", e.status)}
}
