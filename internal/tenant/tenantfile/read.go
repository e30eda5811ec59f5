package tenantfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/token"

	"conveyance/internal/tenant"
)

// accountDefault is the name of an account that has none.
const accountDefault = "main"

// reader reads one file and collects its problems.
type reader struct {
	file     File
	contract Contract
	schemas  *schemas
	doc      *document
	problems tenant.Problems
	warnings tenant.Problems
}

// shape is the file after its schema has let it through.
type shape struct {
	Tenant   string `json:"tenant"`
	Name     string `json:"name"`
	TimeZone string `json:"time_zone"`
	Accounts []struct {
		Vendor     string `json:"vendor"`
		Name       string `json:"name"`
		ExternalID string `json:"external_id"`
		BaseURL    string `json:"base_url"`
		Credential struct {
			File string `json:"file"`
			Env  string `json:"env"`
		} `json:"credential"`
		Webhook struct {
			Keys []keyShape `json:"keys"`
		} `json:"webhook"`
		Settings json.RawMessage `json:"settings"`
	} `json:"accounts"`
	Adapters map[string]struct {
		Account     string          `json:"account"`
		EffectsFrom string          `json:"effects_from"`
		Paused      bool            `json:"paused"`
		Settings    json.RawMessage `json:"settings"`
	} `json:"adapters"`
}

// read returns the tenant, and false where the file has problems.
func (r *reader) read() (tenant.Wanted, bool) {
	doc, err := parse(r.file.Data)
	if err != nil {
		bad, _ := err.(*badYAML) //nolint:errorlint // parse returns nothing else
		r.problems = append(r.problems, tenant.Problem{
			Place: r.place(bad.at), What: bad.what, Remedy: "correct the YAML",
		})
		return tenant.Wanted{}, false
	}
	r.doc = doc
	root := number(doc.root)
	if file, ok := root.(map[string]any); ok && file["system"] != nil && file["tenant"] == nil {
		return r.system(root)
	}
	for _, b := range r.schemas.file.breaches(root, false) {
		if len(b.at) > 2 && b.at[0] == "accounts" && b.at[2] == "credential" && b.key != "" {
			b.what, b.remedy = "a credential never stands in the file", "write {file: …} or {env: …} and put "+b.key+" there"
		}
		keyNotHere(&b)
		r.breach(nil, b)
	}
	// What is right so far is held against the rest, so that all problems are told at once.
	var s shape
	if raw, err := json.Marshal(root); err == nil {
		_ = json.Unmarshal(raw, &s) // it goes on behind a value of another type, which is told
	}
	w := tenant.Wanted{ID: s.Tenant, Name: s.Name, TimeZone: s.TimeZone, Adapters: map[string]tenant.WantedAdapter{}, At: r.value("/tenant")}
	if base := strings.TrimSuffix(filepath.Base(r.file.Name), filepath.Ext(r.file.Name)); s.Tenant != "" && s.Tenant != base {
		r.problem(r.value("/tenant"), fmt.Sprintf("tenant %s stands in %s", s.Tenant, filepath.Base(r.file.Name)), "name the file "+s.Tenant+".yaml")
	}
	if _, err := time.LoadLocation(s.TimeZone); s.TimeZone != "" && (err != nil || s.TimeZone == "Local") {
		r.problem(r.value("/time_zone"), fmt.Sprintf("there is no time zone %q", s.TimeZone), "write one of the IANA database, for example America/Chicago")
	}
	r.accounts(&w, s)
	r.adapters(&w, s)
	w.Warnings = r.warnings
	return w, len(r.problems) == 0
}

func (r *reader) accounts(w *tenant.Wanted, s shape) {
	seen := map[string]bool{}
	ids := map[string]bool{}
	for i, a := range s.Accounts {
		at := "/accounts/" + strconv.Itoa(i)
		out := tenant.WantedAccount{
			Vendor: a.Vendor, Name: a.Name, ExternalID: a.ExternalID, BaseURL: a.BaseURL,
			Settings: object(a.Settings), At: r.value(at + "/external_id"),
		}
		if out.Name == "" {
			out.Name = accountDefault
		}
		if seen[out.Key()] {
			r.problem(r.value(at), "account "+out.Key()+" stands twice", "give one of them another name")
		}
		if id := a.Vendor + " " + a.ExternalID; a.ExternalID != "" {
			if ids[id] {
				r.problem(out.At, fmt.Sprintf("external_id %q stands twice for %s", a.ExternalID, a.Vendor), "two accounts are two at the vendor: correct one")
			}
			ids[id] = true
		}
		seen[out.Key()] = true
		if a.BaseURL != "" && r.contract.CheckBase != nil {
			if err := r.contract.CheckBase(a.BaseURL); err != nil {
				r.problem(r.value(at+"/base_url"), err.Error(), "write the vendor's https address")
			}
		}
		schema, ok := r.schemas.accounts[a.Vendor]
		if !ok && a.Vendor != "" {
			r.problem(r.value(at+"/vendor"), fmt.Sprintf("unknown vendor %q", a.Vendor), instead(a.Vendor, slices.Collect(maps.Keys(r.schemas.accounts))))
		}
		if ref := (reference{a.Credential.File, a.Credential.Env}); ref != (reference{}) {
			out.Source = ref.String()
			var err error
			if out.Credential, err = r.resolve(ref); err != nil {
				r.problem(r.value(at+"/credential"), err.Error(), "put the vendor's keys there as a JSON object of strings")
			}
		}
		if schema != nil {
			r.account(schema, at, out)
		}
		if len(a.Webhook.Keys) > 0 && ok && !r.contract.Webhooks[a.Vendor] {
			r.problem(r.key(at+"/webhook"), a.Vendor+" sends no signed webhooks", "remove webhook")
		}
		out.Keys = r.keys(at+"/webhook/keys", a.Webhook.Keys)
		w.Accounts = append(w.Accounts, out)
	}
}

// account holds a credential and settings against the vendor's schema.
func (r *reader) account(s *schema, at string, a tenant.WantedAccount) {
	if a.Credential == nil {
		a.Credential = map[string]string{}
	}
	secret := map[string]any{}
	for k, v := range a.Credential {
		secret[k] = v
	}
	for _, b := range s.breaches(map[string]any{"credential": secret, "settings": decoded(a.Settings)}, true) {
		if len(b.at) == 0 || b.at[0] != "credential" {
			continue
		}
		if len(a.Credential) == 0 {
			continue // it could not be read, which is told
		}
		if len(b.at) > 1 {
			b.what = b.at[1] + ": " + b.what
		}
		r.problem(r.value(at+"/credential"), b.what+" in "+a.Source, b.remedy)
	}
	for _, b := range s.breaches(map[string]any{"credential": secret, "settings": decoded(a.Settings)}, false) {
		if len(b.at) > 0 && b.at[0] == "settings" {
			r.breach(strings.Split(strings.TrimPrefix(at, "/"), "/"), b)
		}
	}
}

func (r *reader) adapters(w *tenant.Wanted, s shape) {
	for name, a := range s.Adapters {
		at := "/adapters/" + escape(name)
		contract, ok := r.contract.Adapters[name]
		if !ok {
			r.problem(r.key(at), fmt.Sprintf("unknown adapter %q", name), instead(name, slices.Collect(maps.Keys(r.contract.Adapters))))
			continue
		}
		out := tenant.WantedAdapter{Account: a.Account, Paused: a.Paused, Settings: object(a.Settings), At: r.key(at)}
		if a.EffectsFrom != "" {
			out.At = r.value(at + "/effects_from")
			var err error
			if out.EffectsFrom, err = time.Parse(time.RFC3339, a.EffectsFrom); err != nil {
				r.problem(out.At, fmt.Sprintf("effects_from %q is not a time", a.EffectsFrom), "write it as 2026-01-31T00:00:00Z")
			}
		}
		r.adapterAccount(w, at, contract.Vendor, &out)
		for _, b := range r.schemas.settings[name].breaches(decoded(out.Settings), false) {
			r.breach([]string{"adapters", name, "settings"}, b)
		}
		w.Adapters[name] = out
	}
}

func (r *reader) adapterAccount(w *tenant.Wanted, at, vendor string, a *tenant.WantedAdapter) {
	if vendor == "" {
		if a.Account != "" {
			r.problem(r.value(at+"/account"), "the adapter uses no account", "remove account")
		}
		return
	}
	if a.Account == "" {
		a.Account = accountDefault
	}
	var names []string
	for _, acc := range w.Accounts {
		if acc.Vendor == vendor {
			names = append(names, acc.Name)
		}
	}
	if slices.Contains(names, a.Account) {
		return
	}
	remedy := fmt.Sprintf("add an account with vendor: %s, name: %s", vendor, a.Account)
	if len(names) > 0 {
		remedy = instead(a.Account, names)
	}
	r.problem(r.key(at), fmt.Sprintf("the tenant has no %s account %q", vendor, a.Account), remedy)
}

// breach tells what does not fit a schema, at the place of the key or value that is to blame.
func (r *reader) breach(below []string, b breach) {
	at := pointer(slices.Concat(below, b.at))
	switch {
	case b.key != "":
		r.problem(r.key(at+"/"+escape(b.key)), b.what, b.remedy)
	case strings.HasSuffix(b.what, "is missing"):
		r.problem(r.key(at), b.what, b.remedy)
	default:
		what := b.what
		if len(b.at) > 0 {
			what = b.at[len(b.at)-1] + ": " + what
		}
		r.problem(r.value(at), what, b.remedy)
	}
}

func (r *reader) problem(at tenant.Place, what, remedy string) {
	r.problems = append(r.problems, tenant.Problem{Place: at, What: what, Remedy: remedy})
}

// value is the place of a value, or of the nearest thing above it.
func (r *reader) value(at string) tenant.Place { return r.nearest(r.doc.values, at) }

// key is the place of a key, or of the nearest thing above it.
func (r *reader) key(at string) tenant.Place {
	if p, ok := r.doc.keys[at]; ok {
		return r.place(p)
	}
	return r.value(at)
}

func (r *reader) nearest(places map[string]*token.Position, at string) tenant.Place {
	for {
		if p, ok := places[at]; ok {
			return r.place(p)
		}
		if at == "" {
			return r.place(nil)
		}
		at = at[:strings.LastIndexByte(at, '/')]
	}
}

func (r *reader) place(p *token.Position) tenant.Place {
	if p == nil {
		return tenant.Place{File: r.file.Name}
	}
	return tenant.Place{File: r.file.Name, Line: p.Line, Column: p.Column}
}

// object is settings as an object: what is left out is empty.
func object(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage("{}")
	}
	return raw
}

func decoded(raw json.RawMessage) any {
	var v any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	_ = d.Decode(&v) // it was encoded here
	return v
}
