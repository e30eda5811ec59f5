package devstack

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/template"

	"github.com/google/uuid"
)

// rsaBits is the least that DocuSign takes of an app's key.
const rsaBits = 2048

// brokerage is one of the demonstration's tenants: invented, like everybody in the sandbox.
type brokerage struct {
	ID, Name, Zone string
	SkySlopeID     string // external ids at the simulated vendors
	FUBID          string
	DocuSignID     string
	Sandbox        string // base URL
}

var brokerages = []brokerage{
	{
		ID: "lakeshore", Name: "Lakeshore Realty", Zone: "America/Chicago", SkySlopeID: "20417", FUBID: "58120",
		DocuSignID: "8d0c6a52-1f4e-4b7e-9a3f-2c5de1f6a901",
	},
	{
		ID: "redrock", Name: "Red Rock Homes", Zone: "America/Phoenix", SkySlopeID: "31882", FUBID: "60377",
		DocuSignID: "e71b5f04-93ad-4c28-8f60-7b1a4d92c3b7",
	},
}

var tenantFile = template.Must(template.New("tenant").Parse(`# A brokerage of the demonstration; edit it and run: conveyance tenant apply -f <this folder>
tenant: {{.ID}}
name: {{.Name}}
time_zone: {{.Zone}}
accounts:
  - vendor: skyslope
    name: main
    external_id: "{{.SkySlopeID}}"
    base_url: {{.Sandbox}}/skyslope
    credential: {file: ../secrets/{{.ID}}-skyslope.json}
  - vendor: followupboss
    name: main
    external_id: "{{.FUBID}}"
    base_url: {{.Sandbox}}/followupboss
    credential: {file: ../secrets/{{.ID}}-followupboss.json}
  - vendor: docusign
    name: main
    external_id: {{.DocuSignID}}
    base_url: {{.Sandbox}}/docusign
    credential: {file: ../secrets/{{.ID}}-docusign.json}
    settings: {oauth_base_url: {{.Sandbox}}/docusign}
    webhook: {keys: [{id: first, file: ../secrets/{{.ID}}-docusign-webhook.key}]}
adapters:
  followupboss:
    account: main
    # The demonstration's deals begin before its first start; a real brokerage leaves this out, and
    # goes live at the instant of its first apply.
    effects_from: 2020-01-01T00:00:00Z
    settings:
      stages: {UNDER_CONTRACT: Under Contract, CLOSED: Closed}
      deal_stages: {PRE_CONTRACT: Offer, UNDER_CONTRACT: Pending, CLOSED: Closed, CANCELLED: Fell Through, EXPIRED: Fell Through}
      forward_only: true
`))

// WriteBrokerages writes the demonstration's tenant files and their credentials below dir where
// they are not there yet, and returns the folder of the files. What a person edited stays.
func WriteBrokerages(dir, sandbox string) (string, error) {
	folder := filepath.Join(dir, "tenants")
	for _, sub := range []string{folder, filepath.Join(dir, "secrets")} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return "", fmt.Errorf("making the tenants' folder: %w", err)
		}
	}
	for _, b := range brokerages {
		b.Sandbox = sandbox
		if err := b.write(dir); err != nil {
			return "", fmt.Errorf("writing brokerage %s: %w", b.ID, err)
		}
	}
	return folder, nil
}

func (b brokerage) write(dir string) error {
	app, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(app)
	if err != nil {
		return err
	}
	secrets := map[string]map[string]string{
		"skyslope": {
			"client_id": "conveyance-" + b.ID, "client_secret": rand.Text(),
			"access_key": rand.Text(), "access_secret": rand.Text(),
		},
		"followupboss": {"api_key": "fka_" + rand.Text(), "x_system": "Conveyance", "x_system_key": rand.Text()},
		"docusign": {
			"client_id": uuid.NewString(), "client_secret": rand.Text(), "user_id": uuid.NewString(),
			"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		},
	}
	if err := writeOnce(filepath.Join(dir, "secrets", b.ID+"-docusign-webhook.key"), []byte(rand.Text())); err != nil {
		return err
	}
	for vendor, fields := range secrets {
		text, err := json.MarshalIndent(fields, "", "  ")
		if err != nil {
			return err
		}
		if err := writeOnce(filepath.Join(dir, "secrets", b.ID+"-"+vendor+".json"), text); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, "tenants", b.ID+".yaml")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return tenantFile.Execute(f, b)
}

func writeOnce(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = f.Write(text)
	return err
}
