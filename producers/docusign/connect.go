package docusign

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/internal/verdict"
	"conveyance/producers"
)

// causeRefused is vendorhttp's word for a refused credential.
const causeRefused = "account refused"

// inPath is where the bus takes DocuSign's deliveries in, below its public address, before the
// account's token.
const inPath = "/in/" + Name + "/"

// events are what we need to be told of: that an envelope began, what people did, how it ended.
func events() []string {
	return []string{
		"envelope-sent", "envelope-completed", "envelope-declined", "envelope-voided", "envelope-corrected",
		"envelope-purge", "envelope-deleted", "recipient-completed",
	}
}

// configuration is a Connect configuration as the account holds it.
type configuration struct {
	record producers.Record
	id     string
	url    string
}

func (c client) configurations(ctx context.Context, a tenant.Account) ([]configuration, error) {
	answer, _, err := c.call(ctx, a, vendorhttp.Request{Method: http.MethodGet, Path: "/connect"})
	if err != nil {
		return nil, err
	}
	var out []configuration
	for r := range answer.Many("configurations") {
		out = append(out, configuration{r, r.First("connectId", "id"), r.Text("urlToPublishTo")})
	}
	return out, nil
}

// ours finds the configuration that delivers to url, else one that delivers to another account's or an
// older door of the same bus.
func ours(all []configuration, url string) (configuration, bool) {
	before, _, _ := strings.Cut(url, inPath)
	door := before + inPath
	for _, c := range all {
		if c.url == url {
			return c, true
		}
	}
	for _, c := range all {
		if strings.HasPrefix(c.url, door) {
			return c, true
		}
	}
	return configuration{}, false
}

// problem is one thing that is wrong with a configuration, and the field that mends it.
type problem struct {
	what  string
	name  string
	value any
}

// problems of a configuration that should deliver to url. No text of it holds the address's token.
func (c configuration) problems(a tenant.Account, url string) []problem {
	r, out := c.record, []problem(nil)
	wrong := func(bad bool, what, name string, value any) {
		if bad {
			out = append(out, problem{what, name, value})
		}
	}
	wrong(c.url != url, "delivers to another address", "urlToPublishTo", url)
	wrong(!isTrue(r, "allowEnvelopePublish"), "is switched off", "allowEnvelopePublish", "true")
	wrong(!strings.EqualFold(r.Text("deliveryMode"), "SIM"), "does not deliver each event by itself (SIM)", "deliveryMode", "SIM")
	wrong(!isTrue(r, "requiresAcknowledgement"), "does not ask for an acknowledgement, so that nothing is sent again",
		"requiresAcknowledgement", "true")
	wrong(!isTrue(r, "includeHMAC"), "does not sign its deliveries", "includeHMAC", "true")
	wrong(!isTrue(r, "allUsers"), "does not tell of every user's envelopes", "allUsers", "true")
	have := r.Texts("events")
	missing := slices.DeleteFunc(events(), func(e string) bool { return slices.Contains(have, e) })
	wrong(len(missing) > 0, "does not tell of "+strings.Join(missing, ", "), "events", append(have, missing...))
	want := settingsOf(a).included()
	what := wrongData(r.One("eventData"), want)
	wrong(what != "", what, "eventData", map[string]any{"version": eventVersion, "format": "json", "includeData": want})
	return out
}

// eventVersion is the form of deliveries.
const eventVersion = "restv2.1"

// wrongData says what is wrong with the form and extent of deliveries.
func wrongData(data producers.Record, want []string) string {
	have := data.Texts("includeData")
	lacks := slices.ContainsFunc(want, func(d string) bool { return !slices.Contains(have, d) })
	switch {
	case !strings.EqualFold(data.Text("version"), eventVersion):
		return "sends another form than JSON of " + eventVersion
	case slices.Contains(have, partDocuments) && !slices.Contains(want, partDocuments):
		return "sends the documents themselves"
	case lacks:
		return "does not send " + strings.Join(want, ", ")
	case len(want) == 0 && len(have) > 0:
		return "sends the record, against the setting include_data"
	}
	return ""
}

func isTrue(r producers.Record, key string) bool {
	return strings.EqualFold(strings.TrimSpace(r.Get(key).Text()), "true")
}

// Subscribe implements producers.Subscriber: a Connect configuration of the account that delivers to
// url. One of ours that is there is mended, with all that it says beside; no other is touched. The keys
// that sign are made by a person in DocuSign, since its API makes none.
func (s *Source) Subscribe(ctx context.Context, a tenant.Account, url string) ([]string, error) {
	all, err := s.client.configurations(ctx, a)
	if err != nil {
		return nil, err
	}
	found, ok := ours(all, url)
	problems := found.problems(a, url)
	if ok && len(problems) == 0 {
		return nil, nil
	}
	body := map[string]any{}
	method, changed := http.MethodPost, []string{"made the Connect configuration"}
	if ok {
		if kept, is := found.record.Any().(map[string]any); is {
			body = kept
		}
		body["connectId"] = found.id
		method, changed = http.MethodPut, nil
	} else {
		body["name"], body["configurationType"], body["enableLog"] = "Conveyance", "custom", "true"
	}
	for _, p := range problems {
		body[p.name] = p.value
		if ok {
			changed = append(changed, "mended: it "+p.what)
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("writing the Connect configuration of %s: %w", a.Key(), err)
	}
	_, _, err = s.client.call(ctx, a, vendorhttp.Request{
		Method: method, Path: "/connect", Body: text, Header: http.Header{"Content-Type": {"application/json"}},
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// Check asks whether the account's token reaches the account, where the account lives, and whether its
// Connect configuration sends us what we need.
func (s *Source) Check(ctx context.Context, t tenant.Tenant, a tenant.Account) ([]tenant.Finding, error) {
	var out []tenant.Finding
	find := func(what, remedy string) {
		out = append(out, tenant.Finding{Tenant: t.ID, Account: a.Key(), What: what, Remedy: remedy})
	}
	what, err := s.client.reach(ctx, a)
	if v := verdict.Of(err); v != nil && v.Kind == verdict.Hold && v.Cause == causeRefused {
		find("DocuSign refuses the account's token", "connect the account again: conveyance tenant connect")
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if what != "" {
		find(what, "compare external_id and base_url with what DocuSign shows under Apps and Keys, or connect the account as another person")
		return out, nil
	}
	if s.publicURL == "" || a.WebhookToken == "" {
		return out, nil // nobody here knows where its webhooks should go
	}
	all, err := s.client.configurations(ctx, a)
	if err != nil {
		return nil, err
	}
	const mend = "let it be mended: conveyance tenant connect"
	url := a.WebhookURL(s.publicURL)
	found, ok := ours(all, url)
	if !ok {
		find("DocuSign sends no webhooks to this bus: no Connect configuration delivers to it", mend)
		return out, nil
	}
	for _, p := range found.problems(a, url) {
		find("the Connect configuration "+p.what, mend)
	}
	return out, nil
}

// reach asks the account server which accounts the token opens and where they live, and says what is
// wrong with this one.
func (c client) reach(ctx context.Context, a tenant.Account) (wrong string, err error) {
	server := a
	if server.BaseURL = settingsOf(a).OAuthBaseURL; server.BaseURL == "" {
		server.BaseURL = accountServer
	}
	resp, err := c.do.Do(ctx, server, vendorhttp.Request{
		Method: http.MethodGet, Path: "/oauth/userinfo", Bearer: true, Free: true,
		Header: http.Header{"Accept": {"application/json"}},
	})
	if err != nil {
		return "", err
	}
	answer, err := object(resp.Body)
	if err != nil {
		return "", unreadable(vendorhttp.Request{Method: http.MethodGet, Path: "/oauth/userinfo"})
	}
	for r := range answer.Many("accounts") {
		if !strings.EqualFold(r.Text("account_id"), a.ExternalID) {
			continue
		}
		if at := r.Text("base_uri"); at != "" && !sameHost(at, a.BaseURL) {
			return "the account lives at another address than its base_url: " + at, nil
		}
		return "", nil
	}
	return "who connected DocuSign has no access to the account with this external_id", nil
}

func sameHost(a, b string) bool {
	x, err := url.Parse(a)
	y, err2 := url.Parse(b)
	return err == nil && err2 == nil && strings.EqualFold(x.Host, y.Host)
}
