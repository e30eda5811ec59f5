//go:build interop

package interop_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
)

// DocuSign's own client logs in by JWT, and reads and writes what an account holds.
func TestDocuSignsClientWorksWithTheSimulatedDocuSign(t *testing.T) {
	t.Parallel()
	const envelope = "4d3420b8-ce24-8a0a-8135-63c9bb1d0c7e"
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	box, err := sandbox.New(sandbox.Options{Tenants: []sandbox.Tenant{{ID: "lakeshore", Accounts: []sandbox.Account{{
		Vendor: "docusign", Name: "main", ExternalID: "732f99f9-4a0a-4d59-9643-b5faed2026b8",
		Credential: map[string]string{"client_id": "app", "user_id": "fdb7fd81-065c-44f0-8376-daa56da18c13", "private_key": private},
	}}}}})
	require.NoError(t, err)
	srv := httptest.NewTLSServer(box.Handler())
	t.Cleanup(func() {
		srv.Close()
		require.NoError(t, box.Close())
	})
	put(t, srv, "/_control/docusign/envelopes/"+envelope, `{"status":"completed","envelopeDocuments":[{"name":"Agreement.pdf"}],
		"customFields":{"textCustomFields":[{"name":"Deal ID","value":"g-1"}],"listCustomFields":[]},
		"recipients":{"signers":[{"email":"mira@example.com","name":"Mira Holt","status":"completed","signedDateTime":"2026-03-01T12:00:00Z"}]}}`)

	dir := t.TempDir()
	ca, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, []byte(private), 0o600))
	lines := python(t, "sign_in.py", strings.TrimPrefix(srv.URL, "https://"), ca, "app", "fdb7fd81-065c-44f0-8376-daa56da18c13", keyFile, envelope)
	require.JSONEq(t, `{
		"user":"fdb7fd81-065c-44f0-8376-daa56da18c13","expires_in":"3600","account":"732f99f9-4a0a-4d59-9643-b5faed2026b8",
		"configurations":[["renamed","https://hooks.example.com/in/docusign/x","true",["recipients"]]],"left":"0","failures":"0",
		"page":[["`+envelope+`","completed"]],"total":"1","signers":[["mira@example.com","completed","2026-03-01T12:00:00Z"]],
		"again":["mira@example.com"],"fields":[["Deal ID","g-1"]],"fields_again":[["Deal ID","g-1"]],
		"documents":[["1","content"],["certificate","summary"]],"refused":[404,"ENVELOPE_DOES_NOT_EXIST"]}`, lines[0])
}

func put(t *testing.T, srv *httptest.Server, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, srv.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	res, err := srv.Client().Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}
