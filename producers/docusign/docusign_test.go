package docusign_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/producers"
	"conveyance/producers/docusign"
	"conveyance/producers/producerstest"
)

const (
	accountID = "732f99f9-4a0a-4d59-9643-b5faed2026b8"
	known     = "4d3420b8-ce24-8a0a-8135-63c9bb1d0c7e"
	deleted   = "00000000-ce24-8a0a-8135-63c9bb1d0c7e"
	publicURL = "https://hooks.example.com"
)

// served is a DocuSign whose envelopes and answers a test writes.
type served struct {
	mu         sync.Mutex
	envelopes  map[string]map[string]any
	connect    []map[string]any
	calls      []string
	override   http.HandlerFunc // for everything below the account
	baseURI    string
	pageMost   int
	onPage     func(start int)
	withoutIDs bool // userinfo knows no account
}

func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, r.Method+" "+r.URL.RequestURI())
	if r.Header.Get("Authorization") != "Bearer good" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	path, below := strings.CutPrefix(r.URL.Path, "/docusign/restapi/v2.1/accounts/"+accountID)
	switch {
	case r.URL.Path == "/docusign/oauth/userinfo":
		accounts := []any{map[string]any{"account_id": strings.ToUpper(accountID), "base_uri": s.baseURI}}
		if s.withoutIDs {
			accounts = nil
		}
		reply(w, http.StatusOK, map[string]any{"accounts": accounts})
	case !below:
		w.WriteHeader(http.StatusNotFound)
	case s.override != nil:
		s.override(w, r)
	case path == "/envelopes":
		s.list(w, r)
	case path == "/connect":
		s.configure(w, r)
	default:
		e := s.envelopes[strings.TrimPrefix(path, "/envelopes/")]
		if e == nil {
			reply(w, http.StatusNotFound, map[string]any{"errorCode": "ENVELOPE_DOES_NOT_EXIST", "message": "none"})
			return
		}
		reply(w, http.StatusOK, e)
	}
}

func (s *served) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, _ := time.Parse(time.RFC3339Nano, q.Get("from_date"))
	to, err := time.Parse(time.RFC3339Nano, q.Get("to_date"))
	changed := func(e map[string]any) time.Time {
		at, _ := time.Parse(time.RFC3339Nano, e["statusChangedDateTime"].(string))
		return at
	}
	var found []any
	for _, e := range slices.SortedFunc(maps.Values(s.envelopes), func(a, b map[string]any) int { return changed(a).Compare(changed(b)) }) {
		if at := changed(e); !at.Before(from) && (err != nil || !at.After(to)) {
			found = append(found, e)
		}
	}
	start, _ := strconv.Atoi(q.Get("start_position"))
	count, _ := strconv.Atoi(q.Get("count"))
	if s.pageMost > 0 {
		count = s.pageMost
	}
	if s.onPage != nil {
		s.onPage(start)
	}
	first := min(start, len(found))
	page := map[string]any{"totalSetSize": strconv.Itoa(len(found)), "nextUri": "http://169.254.169.254/"}
	if items := found[first:min(first+count, len(found))]; len(items) > 0 {
		page["envelopes"] = items
	}
	reply(w, http.StatusOK, page)
}

func (s *served) configure(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		reply(w, http.StatusOK, map[string]any{"configurations": s.connect, "totalRecords": strconv.Itoa(len(s.connect))})
		return
	}
	var body map[string]any
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPut {
		for i, c := range s.connect {
			if c["connectId"] == body["connectId"] {
				s.connect[i] = body
			}
		}
	} else {
		body["connectId"] = strconv.Itoa(100 + len(s.connect))
		s.connect = append(s.connect, body)
	}
	reply(w, http.StatusOK, body)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller hung up: nobody to tell
}

// put writes an envelope as of an instant.
func (s *served) put(t testing.TB, id string, at time.Time, change func(map[string]any)) {
	t.Helper()
	e := usual(t, "completed")
	e["envelopeId"] = id
	stamp := at.UTC().Format("2006-01-02T15:04:05.0000000Z")
	for _, key := range []string{"statusChangedDateTime", "completedDateTime", "lastModifiedDateTime"} {
		e[key] = stamp
	}
	for _, r := range e["recipients"].(map[string]any)["signers"].([]any) {
		r.(map[string]any)["signedDateTime"] = stamp
	}
	if change != nil {
		change(e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelopes[id] = e
}

func (s *served) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

type tokens string

func (k tokens) Token(context.Context, tenant.Account) (string, error) { return string(k), nil }

func (k tokens) Renew(context.Context, tenant.Account, string) (string, error) { return string(k), nil }

func serve(t testing.TB) (*served, producers.Vendor, tenant.Account) {
	t.Helper()
	s := &served{envelopes: map[string]map[string]any{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.baseURI = srv.URL + "/docusign"
	return s, reaching(t, "good"), account(srv.URL + "/docusign")
}

func account(base string) tenant.Account {
	settings, err := json.Marshal(map[string]string{"oauth_base_url": base})
	if err != nil {
		panic(err)
	}
	return tenant.Account{
		Tenant: "lakeshore", Vendor: "docusign", Name: "main", ExternalID: accountID, BaseURL: base, Settings: settings,
		WebhookToken: "planted-door", Credential: tenant.Credential{Fields: map[string]string{"client_id": "app", "client_secret": "planted-secret"}},
	}
}

// reaching returns the vendor with a real client.
func reaching(t testing.TB, token string) producers.Vendor {
	t.Helper()
	client, err := vendorhttp.New(vendorhttp.Config{AllowLoopback: true, Tokens: tokens(token)})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	v, err := docusign.New(producers.Deps{HTTP: client, PublicURL: publicURL})
	require.NoError(t, err)
	return v
}

func resource(id string) event.Resource {
	return event.Resource{Tenant: "lakeshore", Vendor: "docusign", Account: "main", Kind: "envelope", ID: id}
}

func TestDocuSignIsAVendor(t *testing.T) {
	t.Parallel()
	s, v, a := serve(t)
	at := time.Now().Add(-time.Minute)
	s.put(t, known, at, nil)
	s.put(t, "aaaaaaaa-ce24-8a0a-8135-63c9bb1d0c7e", at.Add(-time.Hour), nil)
	producerstest.Run(t, producerstest.Leaf{
		Vendor: v, Testdata: "testdata", Account: a, Known: resource(known), Gone: resource(deleted), Sign: signed,
		Change: func(t *testing.T) {
			at = at.Add(time.Second)
			s.put(t, known, at, func(e map[string]any) { e["status"] = "voided" })
		},
	})
}
