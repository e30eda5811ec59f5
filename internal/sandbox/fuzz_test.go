package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
)

// FuzzControlCalls holds that no body or address of a control call breaks the sandbox: whatever it
// writes, the judge can still judge.
func FuzzControlCalls(f *testing.F) {
	for _, seed := range [][3]string{
		{"PUT", "skyslope/sales/g?tenant=lakeshore", `{"status":"Pending","buyers":[{"email":"a@b.test"}]}`},
		{"PUT", "followupboss/people/7?tenant=redrock/main", `{"stage":"Lead","emails":[{"value":"a@b.test"}],"phones":[{"value":"1"}]}`},
		{"PUT", "followupboss/stages/7?tenant=redrock/main", `{"name":{}}`},
		{"POST", "skyslope/faults", `{"account":"lakeshore","match":"GET *","times":3,"fault":"retype:a=string"}`},
		{"DELETE", "skyslope/faults/1", ""},
		{"PUT", "docusign/envelopes/4d3420b8-ce24-8a0a-8135-63c9bb1d0c7e?tenant=redrock", `{"status":"sent","recipients":{"signers":[{"email":"a@b"}]}}`},
		{"PUT", "docusign/connect/7?tenant=redrock", `{"urlToPublishTo":"::","allUsers":true}`},
		{"PUT", "docusign/keys?tenant=redrock", `{"keys":["a"]}`},
		{"DELETE", "docusign/consent?tenant=redrock", ""},
		{"GET", "docusign/deliveries?account=lakeshore&after=3", ""},
		{"GET", "followupboss/requests?account=lakeshore&after=3", ""},
		{"POST", "story", `{"seed":7,"deals":0,"per_second":50}`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if strings.HasPrefix(path, "story") && strings.Contains(body, "deals") && !strings.Contains(body, `"deals":0`) {
			t.Skip() // a story goes on by itself
		}
		o := sandbox.Options{Tenants: tenants()}
		signing(&o)
		box, err := sandbox.New(o)
		require.NoError(t, err)
		defer func() { require.NoError(t, box.Close()) }()
		call := func(method, target, body string) int {
			r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
			u, err := r.URL.Parse(target)
			if err != nil || strings.ContainsAny(method, " \r\n") || method == "" {
				t.Skip()
			}
			r.Method, r.URL = method, u
			w := httptest.NewRecorder()
			box.Handler().ServeHTTP(w, r)
			return w.Code
		}
		require.Less(t, call(method, "/_control/"+path, body), 500)
		require.Equal(t, 200, call("GET", "/_control/truth", ""))
	})
}

// FuzzFollowUpBossBodies holds that no body breaks a simulated endpoint.
func FuzzFollowUpBossBodies(f *testing.F) {
	for _, seed := range [][3]string{
		{"POST", "people?deduplicate=true", `{"name":"Mira Holt","emails":[{"value":"a@b.test","type":"home"}],"tags":["a"]}`},
		{"POST", "deals", `{"name":"x","stageId":1,"peopleIds":[1],"price":5.5,"projectedCloseDate":"2026-01-01"}`},
		{"POST", "events", `{"type":"Registration","person":{"emails":[{"value":"a@b.test"}]}}`},
		{"POST", "notes", `{"personId":1,"body":"x"}`},
		{"PUT", "pipelines/1", `{"stages":[{"name":"x"},null,5]}`},
		{"POST", "dealCustomFields", `{"label":"é x","type":"text"}`},
		{"GET", "people?next=eyJiZWZvcmUiOjd9&limit=3&fields=id,name&phone=%2B1", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		box, err := sandbox.New(sandbox.Options{Tenants: tenants(), StrictDedupe: true})
		require.NoError(t, err)
		defer func() { require.NoError(t, box.Close()) }()
		r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
		u, err := r.URL.Parse("/followupboss/v1/" + path)
		if err != nil || strings.ContainsAny(method, " \r\n") || method == "" {
			t.Skip()
		}
		r.Method, r.URL, r.Header = method, u, crm("lakeshore")
		for range 2 {
			w := httptest.NewRecorder()
			r.Body = httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body)).Body
			box.Handler().ServeHTTP(w, r)
			require.Less(t, w.Code, 500)
		}
	})
}
