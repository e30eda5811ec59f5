package docusign_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/tenant"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

const door = publicURL + "/in/docusign/planted-door"

func check(t *testing.T, v producers.Vendor, a tenant.Account) []string {
	t.Helper()
	findings, err := v.Checker.Check(t.Context(), tenant.Tenant{ID: "lakeshore"}, a)
	require.NoError(t, err)
	var out []string
	for _, f := range findings {
		require.NotContains(t, f.What+f.Remedy, "planted")
		require.Contains(t, f.Remedy, "connect")
		out = append(out, f.What)
	}
	return out
}

func subscribe(t *testing.T, v producers.Vendor, a tenant.Account) []string {
	t.Helper()
	changed, err := v.Subscriber.Subscribe(t.Context(), a, door)
	require.NoError(t, err)
	return changed
}

func TestConnectConfigurationIsMadeOnceAndFoundGood(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	s.connect = []map[string]any{{"connectId": "1", "urlToPublishTo": "https://other.example.com/hook", "allowEnvelopePublish": "true"}}
	require.Equal(t, []string{"DocuSign sends no webhooks to this bus: no Connect configuration delivers to it"}, check(t, v, a))
	require.Equal(t, []string{"made the Connect configuration"}, subscribe(t, v, a))
	require.Len(t, s.connect, 2)
	require.Empty(t, check(t, v, a))
	require.Empty(t, subscribe(t, v, a))
	require.Len(t, s.connect, 2)
	require.Len(t, s.connect[0], 3, "another's is not touched")
	data := s.connect[1]["eventData"].(map[string]any)
	require.Equal(t, []any{"recipients", "custom_fields"}, data["includeData"])
}

func TestEveryWrongConfigurationIsFoundAndMended(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key   string
		value any
		found string
	}{
		"switched off":       {"allowEnvelopePublish", "false", "the Connect configuration is switched off"},
		"an older door":      {"urlToPublishTo", publicURL + "/in/docusign/older", "the Connect configuration delivers to another address"},
		"aggregate":          {"deliveryMode", "aggregate", "the Connect configuration does not deliver each event by itself (SIM)"},
		"no acknowledgement": {"requiresAcknowledgement", "false", "the Connect configuration does not ask for an acknowledgement, so that nothing is sent again"},
		"unsigned":           {"includeHMAC", nil, "the Connect configuration does not sign its deliveries"},
		"some users":         {"allUsers", "false", "the Connect configuration does not tell of every user's envelopes"},
		"an event is missing": {"events", []any{
			"envelope-sent", "envelope-declined", "envelope-voided", "envelope-corrected", "envelope-purge",
			"envelope-deleted", "recipient-completed", "template-created",
		}, "the Connect configuration does not tell of envelope-completed"},
		"XML":           {"eventData", map[string]any{"version": "soap"}, "the Connect configuration sends another form than JSON of restv2.1"},
		"thin":          {"eventData", map[string]any{"version": "restv2.1"}, "the Connect configuration does not send recipients, custom_fields"},
		"the documents": {"eventData", map[string]any{"version": "restv2.1", "includeData": []any{"recipients", "custom_fields", "documents"}}, "the Connect configuration sends the documents themselves"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, v, a := serve(t)
			subscribe(t, v, a)
			s.connect[0]["name"], s.connect[0]["somethingElse"] = "People named it", map[string]any{"kept": "yes"}
			s.connect[0][c.key] = c.value
			require.Equal(t, []string{c.found}, check(t, v, a))
			require.Len(t, subscribe(t, v, a), 1)
			require.Empty(t, check(t, v, a))
			require.Len(t, s.connect, 1)
			require.Equal(t, "People named it", s.connect[0]["name"])
			require.Equal(t, map[string]any{"kept": "yes"}, s.connect[0]["somethingElse"])
			if c.key == "events" {
				require.Contains(t, s.connect[0]["events"], "template-created", "what others asked for stays")
			}
		})
	}
}

func TestWhatIsIncludedFollowsTheSettings(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string][]any{
		`{"include_data":false}`:     {},
		`{"include_data":true}`:      {"recipients", "custom_fields"},
		`{"include_documents":true}`: {"recipients", "custom_fields", "documents"},
	} {
		s, v, a := serve(t)
		base := a.Settings
		subscribe(t, v, a)
		var merged map[string]any
		require.NoError(t, json.Unmarshal(base, &merged))
		require.NoError(t, json.Unmarshal([]byte(settings), &merged))
		text, err := json.Marshal(merged)
		require.NoError(t, err)
		a.Settings = text
		changes := len(want) != 2
		require.Equal(t, changes, len(check(t, v, a)) == 1, settings)
		require.Equal(t, changes, len(subscribe(t, v, a)) == 1)
		require.Equal(t, want, s.connect[0]["eventData"].(map[string]any)["includeData"])
		require.Empty(t, check(t, v, a))
	}
}

func TestAnAccountThatTheTokenDoesNotOpenIsFound(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	subscribe(t, v, a)
	s.mu.Lock()
	s.baseURI = "https://eu.docusign.example.com"
	s.mu.Unlock()
	require.Equal(t, []string{"the account lives at another address than its base_url: https://eu.docusign.example.com"}, check(t, v, a))
	s.mu.Lock()
	s.withoutIDs = true
	s.mu.Unlock()
	require.Equal(t, []string{"who connected DocuSign has no access to the account with this external_id"}, check(t, v, a))
	require.Equal(t, []string{"DocuSign refuses the account's token"}, check(t, reaching(t, "bad"), a))

	s.override = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	s.mu.Lock()
	s.withoutIDs, s.baseURI = false, ""
	s.mu.Unlock()
	_, err := v.Checker.Check(t.Context(), tenant.Tenant{ID: "lakeshore"}, a)
	require.Equal(t, verdict.Retry, verdict.Of(err).Kind, "no answer is no finding")
}

func TestWebhooksAreNotLookedAtWhereNobodyKnowsTheirAddress(t *testing.T) {
	t.Parallel()
	_, v, a := serve(t)
	a.WebhookToken = ""
	require.Empty(t, check(t, v, a))
}
