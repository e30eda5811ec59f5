package docusign_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/verdict"
)

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the caller hung up: nobody to tell
	}
}

func TestAnswersThatAreNoEnvelopeHaveTheirVerdicts(t *testing.T) {
	t.Parallel()
	const other = `{"envelopeId":"aaaaaaaa-ce24-8a0a-8135-63c9bb1d0c7e","status":"completed","statusChangedDateTime":"2026-01-01T00:00:00Z"}`
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   verdict.Kind
		cause  string
	}{
		"HTML with 200":      {answer(200, "<html>maintenance</html>"), verdict.Retry, "vendor answer unreadable"},
		"HTML with 404":      {answer(404, "<html>no such site</html>"), verdict.Retry, "vendor answer unreadable"},
		"nothing":            {answer(200, ""), verdict.Retry, "vendor answer unreadable"},
		"an array":           {answer(200, "[]"), verdict.Retry, "vendor answer unreadable"},
		"cut off":            {answer(200, other[:60]), verdict.Retry, "vendor answer unreadable"},
		"another envelope":   {answer(200, other), verdict.Retry, "vendor answered another record"},
		"no envelope":        {answer(200, `{"status":"sent"}`), verdict.Park, "contract broken: /envelopeId"},
		"no time":            {answer(200, `{"envelopeId":"`+known+`","status":"sent"}`), verdict.Park, "contract broken: /statusChangedDateTime"},
		"no such path":       {answer(404, `{"errorCode":"RESOURCE_NOT_FOUND"}`), verdict.Park, "vendor refused 404"},
		"no member":          {answer(400, `{"errorCode":"USER_LACKS_MEMBERSHIP","message":"planted"}`), verdict.Park, "vendor refused 400"},
		"polled too often":   {answer(400, `{"errorCode":"Hourly_Envelope_Polling_Limit_Exceeded"}`), verdict.Hold, "vendor's polling rule"},
		"burst used up":      {answer(400, `{"errorCode":"BURST_APIINVOCATION_LIMIT_EXCEEDED"}`), verdict.Hold, "vendor limit reached"},
		"hour used up":       {answer(400, `{"errorCode":"HOURLY_APIINVOCATION_LIMIT_EXCEEDED"}`), verdict.Hold, "vendor limit reached"},
		"a limit's status":   {answer(429, ``), verdict.Hold, "vendor limit reached"},
		"an error":           {answer(503, ``), verdict.Retry, "vendor answered 503"},
		"refused":            {answer(403, ``), verdict.Hold, "account refused"},
		"sent somewhere":     {http.RedirectHandler("http://169.254.169.254/", http.StatusFound).ServeHTTP, verdict.Park, "vendor redirected"},
		"connection cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, verdict.Retry, "no answer from vendor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, v, a := serve(t)
			s.override = c.answer
			_, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
			got := verdict.Of(err)
			require.Equal(t, c.kind, got.Kind, err)
			require.Equal(t, c.cause, got.Cause)
			require.NotContains(t, err.Error(), "planted")
			if c.cause == "vendor's polling rule" {
				require.Equal(t, verdict.ScopeKey, got.Scope, "one envelope alone")
				require.WithinDuration(t, time.Now().Add(v.Again), got.Until, time.Minute)
			}
		})
	}
}

func TestDeletedAndPurgedEnvelopesAreTombstones(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	for id, change := range map[string]func(map[string]any){
		"00000001-ce24-8a0a-8135-63c9bb1d0c7e": func(e map[string]any) { e["status"] = "deleted" },
		"00000002-ce24-8a0a-8135-63c9bb1d0c7e": func(e map[string]any) { e["purgeState"] = "documents_purged" },
		"00000003-ce24-8a0a-8135-63c9bb1d0c7e": func(e map[string]any) { e["purgeState"] = "documents_and_metadata_purged" },
	} {
		s.put(t, id, time.Now(), change)
		snap, err := v.Fetcher.Fetch(t.Context(), a, resource(id))
		require.NoError(t, err)
		require.True(t, snap.Gone)
		require.Empty(t, snap.Parts)
	}
	s.override = answer(400, `{"errorCode":"ENVELOPE_DOES_NOT_EXIST"}`)
	snap, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
	require.NoError(t, err)
	require.True(t, snap.Gone, "as old versions of the API say it")
}

func TestAnEnvelopeIsOneCallToTheConfiguredBase(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	s.put(t, known, time.Now(), func(e map[string]any) { e["envelopeUri"] = "http://169.254.169.254/" })
	_, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
	require.NoError(t, err)
	require.Equal(t, []string{
		"GET /docusign/restapi/v2.1/accounts/" + accountID + "/envelopes/" + known + "?include=recipients%2Ccustom_fields%2Cdocuments",
	}, s.called())
}

func TestDocumentsThemselvesAreNotKept(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	digest := func(change func(map[string]any)) string {
		s.put(t, known, time.Unix(1_780_000_000, 0), func(e map[string]any) {
			for _, d := range e["envelopeDocuments"].([]any) {
				change(d.(map[string]any))
			}
		})
		snap, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
		require.NoError(t, err)
		require.Less(t, len(snap.Parts[0].Body), 20_000)
		require.NotContains(t, string(snap.Parts[0].Body), "PDFBytes")
		require.Contains(t, string(snap.Parts[0].Body), "Lead-Based Paint Disclosure.pdf")
		_, err = v.Mapper.Map(snap)
		require.NoError(t, err)
		return snap.Digest
	}
	require.Equal(t, digest(func(map[string]any) {}), digest(func(d map[string]any) { d["PDFBytes"] = strings.Repeat("A", 100_000) }))
}

// The envelope's own time stands still while its recipients sign.
func TestVersionRisesWithEverySignature(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	sent, first := time.Unix(1_780_000_000, 0).UTC(), time.Unix(1_780_000_100, 0).UTC()
	versions := []int64{}
	for _, signed := range []any{nil, first.Format(time.RFC3339)} {
		s.put(t, known, sent, func(e map[string]any) {
			e["status"] = "sent"
			signers := e["recipients"].(map[string]any)["signers"].([]any)
			for _, r := range signers {
				r.(map[string]any)["status"], r.(map[string]any)["signedDateTime"] = "sent", nil
			}
			if signed != nil {
				signers[0].(map[string]any)["status"], signers[0].(map[string]any)["signedDateTime"] = "completed", signed
			}
		})
		snap, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
		require.NoError(t, err)
		versions = append(versions, snap.Version)
	}
	require.Equal(t, []int64{sent.UnixMilli(), first.UnixMilli()}, versions)
}
