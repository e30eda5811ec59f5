package verdict_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/verdict"
)

var errInner = errors.New("inner")

func TestVerdictPassesThroughEveryWrap(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	account := verdict.AccountScope("lakeshore", "skyslope", "main")
	for _, tt := range []struct {
		err  error
		want verdict.Error
		text string
	}{
		{verdict.Skipped("before go-live"), verdict.Error{Kind: verdict.Skip, Cause: "before go-live"}, "skip: before go-live"},
		{
			verdict.RetryAfter(time.Second, "busy", errInner),
			verdict.Error{Kind: verdict.Retry, Cause: "busy", After: time.Second, Err: errInner},
			"retry: busy: inner",
		},
		{verdict.Doubtful("no answer", errInner), verdict.Error{Kind: verdict.Doubt, Cause: "no answer", Err: errInner}, "doubt: no answer: inner"},
		{
			verdict.Held(account, until, "account refused", nil),
			verdict.Error{Kind: verdict.Hold, Cause: "account refused", Scope: account, Until: until},
			"hold: account refused",
		},
		{verdict.Parked("bad value", errInner), verdict.Error{Kind: verdict.Park, Cause: "bad value", Err: errInner}, "park: bad value: inner"},
		{verdict.Stalled("down", errInner), verdict.Error{Kind: verdict.Stall, Cause: "down", Err: errInner}, "stall: down: inner"},
	} {
		wrapped := fmt.Errorf("applying deal: %w", errors.Join(fmt.Errorf("calling vendor: %w", tt.err)))
		require.Equal(t, &tt.want, verdict.Of(wrapped))
		require.Equal(t, tt.text, tt.err.Error())
		require.Equal(t, tt.want.Err != nil, errors.Is(wrapped, errInner))
	}
}

func TestOuterVerdictWins(t *testing.T) {
	t.Parallel()
	err := verdict.Parked("adapter knows better", verdict.RetryAfter(0, "vendor answered 500", nil))
	require.Equal(t, verdict.Park, verdict.Of(err).Kind)
}

func TestUnmarkedErrorIsARetryThatKeepsItsDetail(t *testing.T) {
	t.Parallel()
	v := verdict.Of(context.DeadlineExceeded)
	require.Equal(t, &verdict.Error{Kind: verdict.Retry, Cause: "unmarked", Err: context.DeadlineExceeded}, v)
	require.Nil(t, verdict.Of(nil), "done")
}

func TestScopesAreApartWhateverTheirParts(t *testing.T) {
	t.Parallel()
	seen := map[verdict.Scope]bool{}
	for _, s := range []verdict.Scope{
		verdict.ScopeAdapter, verdict.ScopeKey, verdict.TenantScope("a"), verdict.TenantScope("key"),
		verdict.AccountScope("a", "v", "main"), verdict.AccountScope("a", "v", "other"), verdict.AccountScope("b", "v", "main"),
		verdict.PersonScope("a", "v/main"), verdict.PersonScope("b", "v/main"),
		verdict.LinkScope("a/v/main"), verdict.LinkScope("b/v/main"),
	} {
		require.False(t, seen[s], s)
		seen[s] = true
	}
	require.Equal(t, verdict.Scope("account:lakeshore/followupboss/main"), verdict.AccountScope("lakeshore", "followupboss", "main"))
}

func TestEveryKindHasItsName(t *testing.T) {
	t.Parallel()
	for k, want := range map[verdict.Kind]string{
		verdict.Done: "done", verdict.Skip: "skip", verdict.Retry: "retry", verdict.Doubt: "doubt",
		verdict.Hold: "hold", verdict.Park: "park", verdict.Stall: "stall", 99: "kind(99)", -1: "kind(-1)",
	} {
		require.Equal(t, want, k.String())
	}
}
