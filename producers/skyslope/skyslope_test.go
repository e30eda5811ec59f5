package skyslope_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/sandbox"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/producers"
	"conveyance/producers/producerstest"
	"conveyance/producers/skyslope"
)

const guid = "5342bb92-4f6d-4df2-bb03-7be81e2336c7"

// simulated is a SkySlope with one brokerage.
type simulated struct {
	url     string
	account tenant.Account
	vendor  producers.Vendor
}

func simulate(t testing.TB) simulated {
	t.Helper()
	credential := map[string]string{
		"client_id": "client", "client_secret": "planted-client-secret", "access_key": "key", "access_secret": "planted-access-secret",
	}
	box, err := sandbox.New(sandbox.Options{Tenants: []sandbox.Tenant{{
		ID: "lakeshore", Name: "Lakeshore Realty",
		Accounts: []sandbox.Account{{Vendor: "skyslope", Name: "main", ExternalID: "20417", Credential: credential}},
	}}})
	require.NoError(t, err)
	srv := httptest.NewServer(box.Handler())
	t.Cleanup(func() {
		srv.CloseClientConnections()
		require.NoError(t, box.Close())
		srv.Close()
	})
	return simulated{
		url:    srv.URL,
		vendor: reaching(t, srv.URL),
		account: tenant.Account{
			Tenant: "lakeshore", Vendor: "skyslope", Name: "main", ExternalID: "20417", BaseURL: srv.URL + "/skyslope",
			Credential: tenant.Credential{Fields: credential},
		},
	}
}

// reaching returns the vendor with a real client.
func reaching(t testing.TB, _ string) producers.Vendor {
	t.Helper()
	client, err := vendorhttp.New(vendorhttp.Config{AllowLoopback: true})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	v, err := skyslope.New(producers.Deps{HTTP: client})
	require.NoError(t, err)
	return v
}

func (s simulated) control(t testing.TB, method, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+"/_control/skyslope"+path, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Less(t, resp.StatusCode, 300, path)
}

func (s simulated) sale(t testing.TB, guid, patch string) {
	t.Helper()
	s.control(t, http.MethodPut, "/sales/"+guid+"?tenant=lakeshore", patch)
}

func (s simulated) fault(t testing.TB, fault string) {
	t.Helper()
	s.control(t, http.MethodPost, "/faults", fault)
}

func resource(guid string) event.Resource {
	return event.Resource{Tenant: "lakeshore", Vendor: "skyslope", Account: "main", Kind: "sale", ID: guid}
}

func TestSkySlopeIsAVendor(t *testing.T) {
	t.Parallel()
	s := simulate(t)
	s.sale(t, guid, `{"status":"Pending","dealType":"Purchase","salePrice":449500,"buyers":[{"firstName":"Mira","email":"mira@example.com"}]}`)
	s.sale(t, "another", `{"status":"Closed"}`)
	s.sale(t, "deleted", `{"status":"Closed"}`)
	s.control(t, http.MethodDelete, "/sales/deleted?tenant=lakeshore", "")
	price := 449500
	producerstest.Run(t, producerstest.Leaf{
		Vendor: s.vendor, Testdata: "testdata", Account: s.account, Known: resource(guid), Gone: resource("deleted"),
		Change: func(t *testing.T) {
			price++
			s.sale(t, guid, `{"salePrice":"`+string(rune('0'+price%10))+`000"}`)
		},
	})
}
