package producers_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/producers"
)

func TestRenamedFieldsHaveTheNamesThatTheMapperKnows(t *testing.T) {
	t.Parallel()
	names := producers.Aliases(json.RawMessage(`{"renamed":{"transaction_status":"status"}}`))
	for _, c := range []struct{ name, body, want string }{
		{"a key", `{"transaction_status":"Pending"}`, `{"status":"Pending"}`},
		{"at every depth, with space before the colon", `{"a":[{"transaction_status" : 1}]}`, `{"a":[{"status" : 1}]}`},
		{"a value of that text stays", `{"a":"transaction_status","b":["transaction_status"]}`, `{"a":"transaction_status","b":["transaction_status"]}`},
		{"quoted text in a value stays", `{"a":"\"transaction_status\": 1"}`, `{"a":"\"transaction_status\": 1"}`},
		{"the old name wins where it still stands", `{"status":"Closed","transaction_status":"x"}`, `{"status":"Closed","transaction_status":"x"}`},
		{"a key that only begins so", `{"transaction_status_id":1}`, `{"transaction_status_id":1}`},
		{"no JSON", `<html>"transaction_status"`, `<html>"transaction_status"`},
		{"cut in a string", `{"transaction_status`, `{"transaction_status`},
		{"nothing", ``, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := event.VendorSnapshot{Parts: []event.Part{{Name: "sale", Body: []byte(c.body)}}}
			after := producers.Renamed(before, names)
			require.Equal(t, c.want, string(after.Parts[0].Body))
			require.Equal(t, c.body, string(before.Parts[0].Body))
		})
	}
}

func TestSettingsWithoutAliasesRenameNothing(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{``, `{}`, `null`, `{"renamed":null}`, `{"renamed":[]}`} {
		require.Empty(t, producers.Aliases(json.RawMessage(settings)), settings)
	}
}

func FuzzRenamedNeverPanicsAndKeepsOtherBodies(f *testing.F) {
	f.Add([]byte(`{"transaction_status":"Pending"}`))
	f.Add([]byte(`{"a":"\\"`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := event.VendorSnapshot{Parts: []event.Part{{Body: body}}}
		out := producers.Renamed(s, map[string]string{"transaction_status": "status"})
		if json.Valid(body) {
			require.True(t, json.Valid(out.Parts[0].Body))
		}
	})
}
