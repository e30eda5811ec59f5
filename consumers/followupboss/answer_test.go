package followupboss

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
)

// parrot answers every call with the same body.
type parrot []byte

func (p parrot) Do(context.Context, tenant.Account, vendorhttp.Request) (vendorhttp.Response, error) {
	return vendorhttp.Response{Status: http.StatusOK, Body: p}, nil
}

// FuzzAnswerIsReadOrRefusedByVerdict reads anything as every answer that we expect of the vendor.
func FuzzAnswerIsReadOrRefusedByVerdict(f *testing.F) {
	samples, err := filepath.Glob("testdata/answers/*")
	require.NoError(f, err)
	require.NotEmpty(f, samples)
	for _, s := range samples {
		text, err := os.ReadFile(s)
		require.NoError(f, err)
		f.Add(text)
		f.Add(text[:len(text)/2])
	}
	for _, s := range []string{"", "null", "[]", "{}", `{"people":null,"_metadata":{"next":7}}`, "<html>", `{"id":"7"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, ctx, acc := crm{parrot(body)}, t.Context(), tenant.Account{}
		check := func(err error, kind verdict.Kind) {
			if err != nil {
				require.Equal(t, kind, verdict.Of(err).Kind)
			}
		}
		var p person
		_, err := c.get(ctx, acc, "/v1/people/1", nil, &p)
		check(err, verdict.Retry)
		check(pages(ctx, c, acc, "/v1/people", "people", nil, func(p person) bool {
			b := personBody{contact: event.Contact{Emails: []string{"a@example.com"}, Phones: []string{"+13125550101"}}}
			text, err := json.Marshal(b.lacking(p, 1))
			require.NoError(t, err)
			require.True(t, json.Valid(text))
			return false
		}), verdict.Retry)
		check(pages(ctx, c, acc, "/v1/deals", "deals", nil, func(d deal) bool {
			w := wish{body: dealBody{deal: &event.Deal{Name: "a", SalePrice: &event.Money{Currency: "USD", Minor: 1}}}}
			_, err := json.Marshal(w.patch(d))
			require.NoError(t, err)
			return w.before(d)
		}), verdict.Retry)
		check(pages(ctx, c, acc, "/v1/pipelines", "pipelines", nil, func(pipeline) bool { return false }), verdict.Retry)
		_, err = c.write(ctx, acc, http.MethodPost, "/v1/people", nil, map[string]any{})
		check(err, verdict.Doubt)
	})
}

func TestEntriesOfThePersonGoBackAsTheyCame(t *testing.T) {
	t.Parallel()
	const sent = `[{"value":"a@example.com","type":"work","isPrimary":1,"status":"Valid"}]`
	var have []reach
	require.NoError(t, json.Unmarshal([]byte(sent), &have))
	all, err := json.Marshal(add(have, []string{"A@example.com", "b@example.com"}, fold))
	require.NoError(t, err)
	want := sent[:len(sent)-1] + `,{"value":"b@example.com","type":"home"}]`
	require.JSONEq(t, want, string(all))
}

func TestNamesFitTheTwoFieldsOfTheCRM(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		contact     event.Contact
		first, last string
	}{
		{event.Contact{FirstName: "Nora", LastName: "Weller", FullName: "N. Weller"}, "Nora", "Weller"},
		{event.Contact{LastName: "Weller"}, "", "Weller"},
		{event.Contact{FullName: "Nora Maria Weller"}, "Nora Maria", "Weller"},
		{event.Contact{FullName: "Nora"}, "Nora", ""},
		{event.Contact{Company: "Weller Family Trust"}, "Weller Family Trust", ""},
		{event.Contact{}, "", ""},
	} {
		first, last := nameOf(tt.contact)
		require.Equal(t, [2]string{tt.first, tt.last}, [2]string{first, last})
	}
}

func TestNumbersAreTheSameHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"+13125550101", "(312) 555-0101", "312.555.0101", "1 312 555 0101"} {
		require.Equal(t, "3125550101", digits(n))
	}
	require.Equal(t, "911", digits("911"))
	require.Empty(t, digits("none"))
}
