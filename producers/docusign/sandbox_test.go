package docusign_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/sandbox"
	"conveyance/producers"
)

// simulate returns the simulated DocuSign's address, with a vendor that holds a live token of it.
func simulate(t *testing.T) (base string, v producers.Vendor) {
	t.Helper()
	box, err := sandbox.New(sandbox.Options{AutoConsent: true, Tenants: []sandbox.Tenant{{
		ID: "lakeshore", Name: "Lakeshore Realty", Accounts: []sandbox.Account{{
			Vendor: "docusign", Name: "main", ExternalID: accountID,
			Credential: map[string]string{"client_id": "app", "client_secret": "planted-secret", "hmac_key_1": "planted-key-one", "hmac_key_2": "planted-key-two"},
		}},
	}}})
	require.NoError(t, err)
	srv := httptest.NewServer(box.Handler())
	t.Cleanup(func() {
		srv.CloseClientConnections()
		require.NoError(t, box.Close())
		srv.Close()
	})
	return srv.URL, reaching(t, consent(t, srv.URL+"/docusign"))
}

// consent walks the authorization-code flow.
func consent(t *testing.T, base string) string {
	t.Helper()
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	q := url.Values{"response_type": {"code"}, "client_id": {"app"}, "scope": {"signature extended"}, "redirect_uri": {"http://127.0.0.1/back"}}
	back := get(t, &browser, http.MethodGet, base+"/oauth/auth?"+q.Encode(), "")
	to, err := url.Parse(back.Header.Get("Location"))
	require.NoError(t, err)
	form := url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}}
	answer := get(t, &browser, http.MethodPost, base+"/oauth/token", form.Encode())
	var tokens struct {
		Access string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer.body), &tokens))
	require.NotEmpty(t, tokens.Access)
	return tokens.Access
}

type got struct {
	*http.Response
	body string
}

func get(t *testing.T, c *http.Client, method, to, body string) got {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(body))
	require.NoError(t, err)
	if method == http.MethodPost {
		req.SetBasicAuth("app", "planted-secret")
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.Do(req)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Less(t, resp.StatusCode, 400, "%s", text)
	return got{resp, string(text)}
}

// delivered is a webhook that the simulated Connect sent.
type delivered struct {
	header http.Header
	body   []byte
}

func listen(t *testing.T) (address string, came chan delivered) {
	t.Helper()
	came = make(chan delivered, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			came <- delivered{r.Header, body}
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, came
}

// What the simulated vendor sends is verified by either key, and is the fact that a read gives.
func TestWebhookOfTheSimulatedVendorIsTheFactThatAReadGives(t *testing.T) {
	t.Parallel()
	url, v := simulate(t)
	a := account(url + "/docusign")
	a.Settings = json.RawMessage(`{"include_documents":true,"oauth_base_url":"` + url + `/docusign"}`)
	address, came := listen(t)
	changed, err := v.Subscriber.Subscribe(t.Context(), a, address+"/in/docusign/planted-door")
	require.NoError(t, err)
	require.Equal(t, []string{"made the Connect configuration"}, changed)
	changed, err = v.Subscriber.Subscribe(t.Context(), a, address+"/in/docusign/planted-door")
	require.NoError(t, err)
	require.Empty(t, changed, "the vendor keeps what it was told")

	put := func(patch string) {
		get(t, http.DefaultClient, http.MethodPut, url+"/_control/docusign/envelopes/"+known+"?tenant=lakeshore", patch)
	}
	put(`{"status":"sent","envelopeDocuments":[{"name":"Purchase Agreement.pdf"},{"name":"Disclosure.pdf"}],
		"customFields":{"textCustomFields":[{"fieldId":"1","name":"Deal ID","value":"d-1","show":"true"}],"listCustomFields":[]},
		"recipients":{"signers":[{"name":"Mira Holt","email":"Mira.Holt@example.com","roleName":"Buyer","status":"sent"},
			{"name":"Tomas Reyes","email":"tomas.reyes@example.com","roleName":"Seller","status":"sent"}]}}`)
	put(`{"recipients":{"signers":[{"name":"Mira Holt","email":"Mira.Holt@example.com","roleName":"Buyer","status":"completed"},
			{"name":"Tomas Reyes","email":"tomas.reyes@example.com","roleName":"Seller","status":"sent"}]}}`)
	keys := []producers.Secret{{ID: "k1", Key: []byte("planted-key-one")}, {ID: "k2", Key: []byte("planted-key-two")}}
	var last producers.Delivery
	for {
		d := next(t, came)
		for _, k := range keys {
			id, err := v.Webhook.Verify(d.header, d.body, []producers.Secret{k})
			require.NoError(t, err)
			require.Equal(t, k.ID, id)
		}
		last, err = v.Webhook.Hints(d.body)
		require.NoError(t, err)
		require.Equal(t, accountID, last.Account)
		require.Equal(t, known, last.Resources[0].ID)
		require.NotNil(t, last.Fact, "%s", d.body)
		if strings.Contains(string(d.body), "recipient-completed") {
			break
		}
	}
	facts, err := v.Mapper.Map(*last.Fact)
	require.NoError(t, err)
	require.Len(t, facts.Signatures, 2)
	require.Empty(t, facts.Drift)
	require.Equal(t, producers.Claim{Kind: "field:deal id", Value: "d-1"}, facts.Claims[0])

	read, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
	require.NoError(t, err)
	require.Equal(t, read.Digest, last.Fact.Digest)
	require.Equal(t, read.Version, last.Fact.Version)
	again, err := v.Mapper.Map(read)
	require.NoError(t, err)
	require.Equal(t, facts, again)
	changes, _, err := pollAll(t, v, a, nil)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	require.Equal(t, read.Digest, changes[0].Fact.Digest)
	require.Equal(t, read.Version, changes[0].Version)

	get(t, http.DefaultClient, http.MethodDelete, url+"/_control/docusign/envelopes/"+known+"?tenant=lakeshore", "")
	gone, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
	require.NoError(t, err)
	require.True(t, gone.Gone)
}

// Without documents in its webhooks, an envelope is read for its first signature and not for its second.
func TestSecondSignatureAtTheSimulatedVendorNeedsNoRead(t *testing.T) {
	t.Parallel()
	url, v := simulate(t)
	a := account(url + "/docusign")
	address, came := listen(t)
	_, err := v.Subscriber.Subscribe(t.Context(), a, address+"/in/docusign/planted-door")
	require.NoError(t, err)
	signed := func(n int) event.VendorSnapshot {
		status := func(i int) string {
			if i < n {
				return "completed"
			}
			return "sent"
		}
		get(t, http.DefaultClient, http.MethodPut, url+"/_control/docusign/envelopes/"+known+"?tenant=lakeshore",
			`{"status":"sent","envelopeDocuments":[{"name":"Purchase Agreement.pdf"},{"name":"Disclosure.pdf"}],
			"recipients":{"signers":[{"name":"Mira Holt","email":"mira.holt@example.com","status":"`+status(0)+`"},
			{"name":"Tomas Reyes","email":"tomas.reyes@example.com","status":"`+status(1)+`"}]}}`)
		for {
			d := next(t, came)
			if !strings.Contains(string(d.body), "recipient-completed") {
				continue
			}
			delivery, err := v.Webhook.Hints(d.body)
			require.NoError(t, err)
			require.Nil(t, delivery.Fact)
			require.NotNil(t, delivery.Partial)
			partial := *delivery.Partial
			partial.Resource = resource(known)
			return partial
		}
	}
	signed(1)
	read, err := v.Fetcher.Fetch(t.Context(), a, resource(known))
	require.NoError(t, err)
	whole, ok := v.Completer.Complete(signed(2), v.Completer.Keep(read))
	require.True(t, ok)
	facts, err := v.Mapper.Map(whole)
	require.NoError(t, err)
	require.Len(t, facts.Signatures, 4, "two people, two documents")
	changes, _, err := pollAll(t, v, a, nil)
	require.NoError(t, err)
	require.Equal(t, changes[0].Fact.Digest, whole.Digest)
	require.Equal(t, changes[0].Version, whole.Version)
}

func next(t *testing.T, came chan delivered) delivered {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case d := <-came:
		return d
	case <-ctx.Done():
		require.Fail(t, "no webhook came")
		return delivered{}
	}
}

func TestSimulatedAccountPassesItsCheck(t *testing.T) {
	t.Parallel()
	url, v := simulate(t)
	a := account(url + "/docusign")
	require.Equal(t, []string{"DocuSign sends no webhooks to this bus: no Connect configuration delivers to it"}, check(t, v, a))
	subscribe(t, v, a)
	require.Empty(t, check(t, v, a))
	get(t, http.DefaultClient, http.MethodDelete, url+"/_control/docusign/consent?tenant=lakeshore", "")
	require.Equal(t, []string{"DocuSign refuses the account's token"}, check(t, v, a))
}
