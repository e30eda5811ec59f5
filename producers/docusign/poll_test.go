package docusign_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

func numbered(n int) string { return fmt.Sprintf("%08d-ce24-8a0a-8135-63c9bb1d0c7e", n) }

func pollAll(t *testing.T, v producers.Vendor, a tenant.Account, since producers.Cursor) ([]producers.Change, producers.Cursor, error) {
	t.Helper()
	var changes []producers.Change
	next, err := v.Poller.Poll(t.Context(), a, since, func(c producers.Change) error {
		changes = append(changes, c)
		return nil
	})
	return changes, next, err
}

func since(at time.Time) producers.Cursor {
	return producers.Cursor(fmt.Sprintf(`{"after":%q}`, at.UTC().Format(time.RFC3339)))
}

func TestAListIsReadPageByPageByPosition(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	s.pageMost = 2
	for n := range 7 {
		s.put(t, numbered(n), time.Now().Add(time.Duration(n-60)*time.Second), nil)
	}
	changes, _, err := pollAll(t, v, a, since(time.Now().Add(-time.Hour)))
	require.NoError(t, err)
	require.Len(t, changes, 7)
	for n, c := range changes {
		require.Equal(t, resource(numbered(n)), c.Resource, "oldest first")
		require.NotNil(t, c.Fact)
		require.Equal(t, c.Version, c.Fact.Version)
	}
	require.Len(t, s.called(), 4)
}

// What changes while pages are read moves to the end, and pulls another over the edge of a page.
func TestNoEnvelopeIsMissedWhenTheListMovesUnderThePages(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	s.pageMost = 2
	for n := range 6 {
		s.put(t, numbered(n), time.Now().Add(time.Duration(n-60)*time.Second), nil)
	}
	moved := usual(t, "completed")
	moved["envelopeId"], moved["statusChangedDateTime"] = numbered(0), time.Now().UTC().Format(time.RFC3339Nano)
	s.onPage = func(start int) { // after this answer, since the list was already sorted
		if start == 0 {
			s.envelopes[numbered(0)] = moved
		}
	}
	changes, _, err := pollAll(t, v, a, since(time.Now().Add(-time.Hour)))
	require.NoError(t, err)
	ids := map[string]bool{}
	for _, c := range changes {
		ids[c.Resource.ID] = true
	}
	require.Len(t, ids, 6)
}

func TestAnEnvelopeThatTheListHoldsInPartIsAHint(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	at := time.Now().Add(-time.Minute)
	s.put(t, numbered(1), at, func(e map[string]any) { delete(e, "recipients") })
	s.put(t, numbered(2), at, func(e map[string]any) { delete(e, "envelopeDocuments") })
	s.put(t, numbered(3), at, func(e map[string]any) { e["status"] = "deleted" })
	changes, next, err := pollAll(t, v, a, since(at.Add(-time.Hour)))
	require.NoError(t, err)
	require.Len(t, changes, 3)
	for _, c := range changes {
		require.Nil(t, c.Fact)
	}
	again, _, err := pollAll(t, v, a, next)
	require.NoError(t, err)
	require.Empty(t, again, "what cannot be seen whole is no change each time")
}

func TestHistoryIsReadInWindowsFromTheConfiguredDay(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	day := time.Now().UTC().AddDate(0, 0, -40).Truncate(24 * time.Hour)
	s.put(t, numbered(1), day.Add(-time.Hour), nil)
	s.put(t, numbered(2), day.Add(time.Hour), nil)
	s.put(t, numbered(3), day.AddDate(0, 0, 20), nil)
	var settings map[string]any
	require.NoError(t, json.Unmarshal(a.Settings, &settings))
	settings["history_from"] = day.Format(time.DateOnly)
	text, err := json.Marshal(settings)
	require.NoError(t, err)
	a.Settings = text
	changes, next, err := pollAll(t, v, a, nil)
	require.NoError(t, err)
	require.Len(t, changes, 2)
	require.Greater(t, len(s.called()), 5)

	before := len(s.called())
	_, _, err = pollAll(t, v, a, next)
	require.NoError(t, err)
	require.Len(t, s.called(), before+1, "a quiet poll is one call")
}

func TestHistoryThatFailsMidwayGoesOnWhereItStood(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	s.put(t, numbered(1), time.Now().AddDate(0, 0, -300), nil)
	s.put(t, numbered(2), time.Now().AddDate(0, 0, -100), nil)
	calls := 0
	s.override = func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls > 20 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		s.list(w, r)
	}
	changes, next, err := pollAll(t, v, a, nil)
	require.NoError(t, err, "what was read is kept")
	require.Len(t, changes, 1)
	_, _, err = pollAll(t, v, a, next)
	require.Equal(t, verdict.Retry, verdict.Of(err).Kind)
	s.mu.Lock()
	s.override = nil
	s.mu.Unlock()
	changes, _, err = pollAll(t, v, a, next)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	require.Equal(t, numbered(2), changes[0].Resource.ID)
}

func TestListsThatBreakTheContractMoveNoCursor(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"HTML":               "<html>",
		"no size":            `{"envelopes":[{"envelopeId":"` + known + `"}]}`,
		"an id that is none": `{"totalSetSize":"1","envelopes":[{"envelopeId":"../x","status":"sent"}]}`,
	} {
		s, v, a := serve(t)
		s.override = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
		_, next, err := pollAll(t, v, a, since(time.Now()))
		require.Error(t, err, name)
		require.Nil(t, next)
	}
	s, v, a := serve(t)
	s.override = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"totalSetSize":"999999","envelopes":[`+strings.Repeat(`{"envelopeId":"`+known+`"},`, 1)+`{}]}`)
	}
	_, _, err := pollAll(t, v, a, since(time.Now()))
	require.Equal(t, verdict.Park, verdict.Of(err).Kind)
	require.Len(t, s.called(), 1)
}

func TestAListWithoutEndIsParked(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	s.override = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"totalSetSize":"999999","envelopes":[{"envelopeId":"`+known+`","status":"sent"}]}`)
	}
	_, _, err := pollAll(t, v, a, since(time.Now()))
	require.Equal(t, "vendor list has no end", verdict.Of(err).Cause)
}

func TestARefusedYieldEndsThePollWithoutACursor(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	s.put(t, known, time.Now().AddDate(0, 0, -1), nil)
	refused := errors.New("Kafka is away")
	next, err := v.Poller.Poll(t.Context(), a, nil, func(producers.Change) error { return refused })
	require.ErrorIs(t, err, refused)
	require.Nil(t, next)
}
