package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"conveyance/internal/devstack"
	"conveyance/internal/sandbox"
)

type sandboxCmd struct {
	Listen    string  `help:"Address to serve on; control has no credentials, so keep it on the loopback." default:"127.0.0.1:8090"`
	Tenants   string  `help:"Folder of tenant files whose accounts the vendors know. Default: two invented brokerages, written to --dir." placeholder:"DIR" type:"path"`
	URL       string  `env:"CONVEYANCE_SANDBOX_URL" help:"How accounts reach it, written into the invented brokerages' files. Default: at --listen." placeholder:"URL"`
	State     string  `help:"File that keeps the vendors' records. Default: in memory." placeholder:"FILE" type:"path"`
	Seed      int64   `help:"Seed of a story that is asked for without one." default:"7"`
	TimeScale float64 `help:"How much faster the vendors' time runs: sessions end, quotas' windows slide." default:"1"`

	WebhookRetry time.Duration `help:"When a webhook that was not taken is delivered again. Default: as the vendor does (DocuSign: a day), in the vendors' time." placeholder:"5s"`
	AutoConsent  bool          `help:"Who is asked for consent to OAuth gives it at once."`
}

// Help is shown by sandbox --help.
func (sandboxCmd) Help() string {
	return `Serves each vendor's own paths below its name, and control below /_control.

Example: conveyance sandbox & curl -s 127.0.0.1:8090/_control/truth`
}

// Run serves until ctx ends.
func (c *sandboxCmd) Run(ctx context.Context, g *globals) error {
	log, err := g.logger("sandbox")
	if err != nil {
		return err
	}
	folder := c.Tenants
	if folder == "" {
		if folder, err = devstack.WriteBrokerages(g.Dir, cmp.Or(c.URL, "http://"+c.Listen)); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(g.errOut, "credentials of the brokerages: %s\n", filepath.Join(g.Dir, "secrets"))
	}
	tenants, err := sandboxTenants(folder)
	if err != nil {
		return err
	}
	s, err := sandbox.New(sandbox.Options{ //nolint:contextcheck // what vendors do by themselves ends with Close
		Tenants: tenants, Seed: c.Seed, TimeScale: c.TimeScale, StateFile: c.State, Log: log,
		WebhookRetry: c.WebhookRetry, AutoConsent: c.AutoConsent,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.Handle("/", s.Handler())
	if err := serve(ctx, c.Listen, mux); err != nil {
		_ = s.Close()
		return err
	}
	return s.Close()
}

// sandboxTenant is what the simulated vendors need of a tenant file. It is read apart from
// internal/tenant: the judge shares no code with the product.
type sandboxTenant struct {
	Tenant   string `yaml:"tenant"`
	Name     string `yaml:"name"`
	Accounts []struct {
		Vendor     string `yaml:"vendor"`
		Name       string `yaml:"name"`
		ExternalID string `yaml:"external_id"`
		Credential struct {
			File string `yaml:"file"`
		} `yaml:"credential"`
		Settings map[string]any `yaml:"settings"`
		Webhook  struct {
			Keys []struct {
				File string `yaml:"file"`
			} `yaml:"keys"`
		} `yaml:"webhook"`
	} `yaml:"accounts"`
	Adapters struct {
		FollowUpBoss struct {
			EffectsFrom time.Time `yaml:"effects_from"`
			Settings    struct {
				Stages        map[string]string `yaml:"stages"`
				DealStages    map[string]string `yaml:"deal_stages"`
				CreateMissing *bool             `yaml:"create_missing"`
				ForwardOnly   bool              `yaml:"forward_only"`
				AssignAgents  *bool             `yaml:"assign_agents"`
				Notes         *bool             `yaml:"notes"`
			} `yaml:"settings"`
		} `yaml:"followupboss"`
	} `yaml:"adapters"`
}

func sandboxTenants(folder string) ([]sandbox.Tenant, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no tenant files (*.yaml) in %s", folder)
	}
	var all []sandbox.Tenant
	for _, file := range files {
		t, err := readSandboxTenant(file)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		all = append(all, t)
	}
	return all, nil
}

func readSandboxTenant(file string) (sandbox.Tenant, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return sandbox.Tenant{}, err
	}
	var y sandboxTenant
	if err := yaml.Unmarshal(text, &y); err != nil {
		return sandbox.Tenant{}, err
	}
	fub := y.Adapters.FollowUpBoss
	t := sandbox.Tenant{ID: y.Tenant, Name: y.Name, FollowUpBoss: sandbox.FUBConfig{
		Stages: fub.Settings.Stages, DealStages: fub.Settings.DealStages,
		CreateMissing: fub.Settings.CreateMissing == nil || *fub.Settings.CreateMissing,
		ForwardOnly:   fub.Settings.ForwardOnly,
		AssignAgents:  fub.Settings.AssignAgents == nil || *fub.Settings.AssignAgents,
		Notes:         fub.Settings.Notes == nil || *fub.Settings.Notes,
		EffectsFrom:   fub.EffectsFrom,
	}}
	for _, a := range y.Accounts {
		secret, err := os.ReadFile(filepath.Join(filepath.Dir(file), a.Credential.File))
		if err != nil {
			return t, fmt.Errorf("reading the credential of %s/%s: %w", a.Vendor, a.Name, err)
		}
		account := sandbox.Account{Vendor: a.Vendor, Name: a.Name, ExternalID: a.ExternalID}
		if err := json.Unmarshal(secret, &account.Credential); err != nil {
			return t, fmt.Errorf("reading the credential of %s/%s: %w", a.Vendor, a.Name, err)
		}
		for i, k := range a.Webhook.Keys {
			key, err := os.ReadFile(filepath.Join(filepath.Dir(file), k.File))
			if err != nil {
				return t, fmt.Errorf("reading a webhook key of %s/%s: %w", a.Vendor, a.Name, err)
			}
			account.Credential[fmt.Sprintf("hmac_key_%d", i+1)] = strings.TrimSpace(string(key))
		}
		account.Settings = map[string]string{}
		for name, v := range a.Settings {
			if text, ok := v.(string); ok {
				account.Settings[name] = text
			}
		}
		t.Accounts = append(t.Accounts, account)
	}
	return t, nil
}
