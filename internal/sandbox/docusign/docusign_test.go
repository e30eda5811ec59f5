package docusign

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

func TestSignatureIsTheVendors(t *testing.T) {
	t.Parallel()
	const body = `{"event":"envelope-completed","apiVersion":"v2.1","uri":"/restapi/v2.1/accounts/732f99f9-4a0a-4d59-9643-b5faed2026b8/envelopes/` +
		`4d3420b8-ce24-8a0a-8135-63c9bb1d0c7e","retryCount":0,"configurationId":22028153,"generatedDateTime":"2026-01-13T07:09:58.9584687Z",` +
		`"data":{"accountId":"732f99f9-4a0a-4d59-9643-b5faed2026b8","userId":"fdb7fd81-065c-44f0-8376-daa56da18c13",` +
		`"envelopeId":"4d3420b8-ce24-8a0a-8135-63c9bb1d0c7e"}}`
	require.Equal(t, "CEEXQEy+cec65U7W1npKwzpqwHsjxSeRJ/iJ7Uf9Hgk=", signature("test-connect-key", []byte(body)))
}

func TestHappeningsAreWhatChanged(t *testing.T) {
	t.Parallel()
	state := func(status string, signers ...string) map[string]any {
		list := []any{}
		for i, s := range signers {
			list = append(list, map[string]any{"recipientIdGuid": string(rune('a' + i)), "recipientId": string(rune('1' + i)), "status": s})
		}
		return map[string]any{"status": status, "recipients": map[string]any{"signers": list}}
	}
	for name, c := range map[string]struct {
		before, after map[string]any
		want          []string
	}{
		"made":              {state("created"), state("created", "created"), nil},
		"sent":              {state("created"), state("sent", "sent", "created"), []string{"recipient-sent/1", "envelope-sent/"}},
		"one signed":        {state("sent", "sent", "sent"), state("sent", "signed", "sent"), []string{"recipient-completed/1"}},
		"signed passes":     {state("sent", "signed", "sent"), state("delivered", "completed", "sent"), []string{"envelope-delivered/"}},
		"all signed":        {state("sent", "completed", "sent"), state("completed", "completed", "completed"), []string{"recipient-completed/2", "envelope-completed/"}},
		"declined":          {state("sent", "sent"), state("declined", "declined"), []string{"recipient-declined/1", "envelope-declined/"}},
		"voided":            {state("sent", "sent"), state("voided", "sent"), []string{"envelope-voided/"}},
		"corrected":         {state("sent", "sent"), state("sent", "sent"), []string{"envelope-corrected/"}},
		"touched when over": {state("completed"), state("completed"), nil},
	} {
		var got []string
		for _, h := range happenings(c.before, c.after) {
			got = append(got, h.event+"/"+h.recipient)
		}
		require.Equal(t, c.want, got, name)
	}
}

func TestHoursBeginOnTheHour(t *testing.T) {
	t.Parallel()
	var h hours
	at := time.Date(2026, 3, 1, 12, 59, 59, 0, time.UTC)
	for i := range hourlyMax {
		left, _, fits := h.take("a", at, time.Hour, true)
		require.True(t, fits)
		require.Equal(t, hourlyMax-i-1, left)
	}
	_, resets, fits := h.take("a", at, time.Hour, true)
	require.False(t, fits)
	_, _, fits = h.take("a", resets, time.Hour, true)
	require.True(t, fits)
}

// bench is a vendor with one account, in memory.
func bench(t testing.TB, at time.Time) *api {
	t.Helper()
	clock := func() time.Time { return at }
	store, err := records.Open("", clock)
	require.NoError(t, err)
	a := world.Account{Tenant: "t", Vendor: name, Name: "main", ExternalID: "x", Credential: map[string]string{"client_id": "c", "client_secret": "s"}}
	ended := make(chan struct{})
	close(ended) // nothing is sent
	return &api{
		base: world.Base{
			Records: store, Clock: clock, Tenants: []world.Tenant{{ID: "t", Accounts: []world.Account{a}}},
			Strike: func(world.Account, string) world.Strike { return world.Strike{} },
		},
		accounts: map[string]world.Account{a.Key(): a}, boxes: map[records.Key]*outbox{}, ended: ended,
	}
}

func (s *api) only() world.Account { return s.accounts["t/docusign/main"] }

// FuzzToken holds that only what was given opens anything.
func FuzzToken(f *testing.F) {
	giver := bench(f, time.UnixMilli(999))
	good := giver.sign(giver.only(), token{Kind: accessToken}, time.Hour)
	f.Add(good)
	f.Add("AAAA.AAAA")
	f.Add(strings.Replace(good, ".", "=.", 1))
	f.Fuzz(func(t *testing.T, text string) {
		s := bench(t, time.UnixMilli(999))
		h := http.Header{"Authorization": {"Bearer " + text}}
		_, live := s.bearer(&http.Request{Header: h})
		require.Equal(t, text == good, live)
	})
}

// FuzzAssertion holds that what nobody signed lets nobody in.
func FuzzAssertion(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJjIiwic3ViIjoidSIsImF1ZCI6Imhvc3QiLCJzY29wZSI6InNpZ25hdHVyZSJ9.AAAA")
	f.Add("..")
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		s := bench(t, time.UnixMilli(999))
		_, err := s.asserted(httptest.NewRequest(http.MethodPost, "http://host/oauth/token", nil), text)
		require.Error(t, err)
	})
}

// FuzzTokenForm holds that no form breaks the token endpoint or gets a token.
func FuzzTokenForm(f *testing.F) {
	f.Add("grant_type=authorization_code&code=AAAA.AAAA", true)
	f.Add("grant_type=refresh_token&refresh_token=e30.", false)
	f.Add("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=e30.e30.AA", true)
	f.Fuzz(func(t *testing.T, form string, basic bool) {
		s := bench(t, time.UnixMilli(999))
		r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if basic {
			r.SetBasicAuth("c", "s")
		}
		s.caller(r)
		w := httptest.NewRecorder()
		s.token(w, r)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusUnauthorized}, w.Code)
	})
}

func FuzzListFilter(f *testing.F) {
	f.Add("from_date=2026-03-01T12:00:00.123Z&status=completed,sent&count=5&start_position=1&order_by=sent")
	f.Add("envelope_ids=a,b&from_to_status=Completed&to_date=1/2/2026")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Skip()
		}
		s := bench(t, time.UnixMilli(999))
		_, err = s.put(s.only(), Envelopes, "4d3420b8-ce24-8a0a-8135-63c9bb1d0c7e", map[string]any{"status": "sent"})
		require.NoError(t, err)
		w := httptest.NewRecorder()
		s.list(w, &http.Request{URL: &url.URL{RawQuery: q.Encode()}}, s.only())
		require.Less(t, w.Code, 500)
		require.True(t, json.Valid(w.Body.Bytes()))
	})
}

// FuzzEnvelope holds that whatever a control call writes, every part can be read, and told.
func FuzzEnvelope(f *testing.F) {
	f.Add(`{"status":"completed","recipients":{"signers":[{"recipientId":1,"status":"completed","email":"a@b"}]},"envelopeDocuments":[{"name":"x"}]}`)
	f.Add(`{"recipients":[],"customFields":5,"envelopeDocuments":{"a":[null]},"status":"x"}`)
	f.Add(`{"recipients":{"signers":[{"recipientId":{"a":[]},"routingOrder":[]},7]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var patch map[string]any
		if json.Unmarshal([]byte(text), &patch) != nil {
			t.Skip()
		}
		s := bench(t, time.UnixMilli(999))
		for range 2 {
			rec, err := s.put(s.only(), Envelopes, "4d3420b8-ce24-8a0a-8135-63c9bb1d0c7e", patch)
			if err != nil {
				return
			}
			m := message{happening: happening{event: "envelope-sent"}, envelope: rec.Body}
			body, err := m.body(s.only(), map[string]any{
				"connectId": "1", "eventData": map[string]any{"includeData": []any{"recipients", "custom_fields", "documents"}},
			})
			require.NoError(t, err)
			require.True(t, json.Valid(body))
			_, err = json.Marshal([]any{recipientsOf(rec.Body, nil), customFieldsOf(rec.Body, nil), documentsOf(rec.Body, nil)})
			require.NoError(t, err)
		}
	})
}
