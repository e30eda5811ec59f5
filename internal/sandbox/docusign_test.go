package sandbox_test

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
)

func TestEnvelopeShowsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	w.envelope("lakeshore", envelopeID, map[string]any{
		"status": "sent", "recipients": signers(0), "envelopeDocuments": []any{map[string]any{"name": "Agreement.pdf"}},
		"customFields": map[string]any{"textCustomFields": []any{map[string]any{"name": "Deal ID", "value": "g"}}},
	})
	h, path := w.token("lakeshore"), below("lakeshore", "/envelopes/"+envelopeID)
	plain := w.want(200, "GET", path, nil, h).object(t)
	require.Equal(t, "sent", plain["status"])
	for _, part := range []string{"recipients", "customFields", "envelopeDocuments"} {
		require.NotContains(t, plain, part)
	}
	some := w.want(200, "GET", path+"?include=custom_fields", nil, h).object(t)
	require.Contains(t, some, "customFields")
	require.NotContains(t, some, "recipients")
}

func TestEnvelopePartsHaveTheirOwnPaths(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	w.envelope("lakeshore", envelopeID, map[string]any{
		"status": "sent", "recipients": signers(1), "envelopeDocuments": []any{map[string]any{"name": "Agreement.pdf"}},
		"customFields": map[string]any{"textCustomFields": []any{map[string]any{"name": "Deal ID", "value": "g"}}},
	})
	h, path := w.token("lakeshore"), below("lakeshore", "/envelopes/"+strings.ToUpper(envelopeID))
	full := w.want(200, "GET", path+"?include=recipients,custom_fields,documents", nil, h).object(t)
	recipients := w.want(200, "GET", path+"/recipients", nil, h).object(t)
	require.Equal(t, recipients, full["recipients"])
	for _, role := range []string{"signers", "agents", "editors", "intermediaries", "carbonCopies", "certifiedDeliveries", "inPersonSigners", "seals", "witnesses"} {
		require.Contains(t, recipients, role)
	}
	require.Equal(t, "2", recipients["recipientCount"])
	require.Equal(t, "2", recipients["currentRoutingOrder"])
	first := recipients["signers"].([]any)[0].(map[string]any)
	require.Equal(t, "1", first["recipientId"])
	require.Equal(t, "2026-03-01T12:00:00.0000000Z", first["signedDateTime"])
	require.Len(t, first["recipientIdGuid"], 36)
	require.Equal(t, full["customFields"], w.want(200, "GET", path+"/custom_fields", nil, h).object(t))
	documents := w.want(200, "GET", path+"/documents", nil, h).object(t)
	require.Equal(t, full["envelopeDocuments"], documents["envelopeDocuments"])
	require.Equal(t, "content", documents["envelopeDocuments"].([]any)[0].(map[string]any)["type"])
	require.Equal(t, "summary", documents["envelopeDocuments"].([]any)[1].(map[string]any)["type"], "the certificate")

	missing := w.want(404, "GET", below("lakeshore", "/envelopes/5d3420b8-ce24-8a0a-8135-63c9bb1d0c7e"), nil, h).object(t)
	require.Equal(t, "ENVELOPE_DOES_NOT_EXIST", missing["errorCode"])
	w.control(204, "DELETE", "/docusign/envelopes/"+envelopeID+"?tenant=lakeshore", nil)
	w.want(404, "GET", path, nil, h)
}

func TestAccountsAreApart(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent"})
	other := w.token("redrock")
	got := w.want(400, "GET", below("lakeshore", "/envelopes/"+envelopeID), nil, other).object(t)
	require.Equal(t, "USER_LACKS_MEMBERSHIP", got["errorCode"])
	w.want(404, "GET", below("redrock", "/envelopes/"+envelopeID), nil, other)
	for _, h := range []map[string][]string{nil, {"Authorization": {"Bearer AAAA"}}, {"Authorization": {"Bearer AAAA.AAAA"}}} {
		got := w.want(401, "GET", below("lakeshore", "/envelopes/"+envelopeID), nil, h).object(t)
		require.Equal(t, "AUTHORIZATION_INVALID_TOKEN", got["errorCode"])
		require.Contains(t, got, "message")
	}
	w.want(404, "GET", "/docusign/restapi/v2/nothing", nil, other)
}

func TestTimesMoveWithWhatChanges(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	first := w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent", "recipients": signers(0)})
	w.clock.move(time.Minute)
	second := w.envelope("lakeshore", envelopeID, map[string]any{"recipients": signers(1)})
	require.Greater(t, second["lastModifiedDateTime"], first["lastModifiedDateTime"])
	require.Equal(t, second["statusChangedDateTime"], first["statusChangedDateTime"], "the envelope's own status is the same")
	w.clock.move(time.Minute)
	third := w.envelope("lakeshore", envelopeID, map[string]any{"status": "completed", "recipients": signers(2), "envelopeId": "x"})
	require.Equal(t, "2026-03-01T12:02:00.0000000Z", third["statusChangedDateTime"])
	require.Equal(t, "2026-03-01T12:02:00.0000000Z", third["completedDateTime"])
	require.Equal(t, "2026-03-01T12:00:00.0000000Z", third["sentDateTime"])
	require.Equal(t, envelopeID, third["envelopeId"])
	list := third["recipients"].(map[string]any)["signers"].([]any)
	require.Equal(t, "2026-03-01T12:01:00.0000000Z", list[0].(map[string]any)["signedDateTime"], "who signed before signed before")
	require.Equal(t, "2026-03-01T12:02:00.0000000Z", list[1].(map[string]any)["signedDateTime"])
	w.control(400, "PUT", "/docusign/envelopes/no-guid?tenant=lakeshore", map[string]any{})
	w.control(400, "PUT", "/docusign/envelopes/"+envelopeID+"?tenant=lakeshore", map[string]any{"status": 5})
}

// listed are the ids of a list, by their last digits, and the list.
func (w *world) listed(query string) (string, map[string]any) {
	w.t.Helper()
	got := w.want(200, "GET", below("lakeshore", "/envelopes?"+query), nil, w.token("lakeshore")).object(w.t)
	var ids []string
	list, _ := got["envelopes"].([]any)
	for _, e := range list {
		id := e.(map[string]any)["envelopeId"].(string)
		ids = append(ids, strings.TrimLeft(id[len(id)-3:], "0"))
	}
	return strings.Join(ids, " "), got
}

func TestListSelectsByChangeOfStatus(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	for i, status := range []string{"sent", "completed", "created", "sent"} {
		w.envelope("lakeshore", fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1), map[string]any{"status": status})
		w.clock.move(time.Minute)
	}
	w.envelope("lakeshore", fmt.Sprintf("00000000-0000-4000-8000-%012d", 1), map[string]any{"emailSubject": "another"})
	from := "from_date=2026-03-01T12:00:00Z"
	for query, want := range map[string]string{
		from:                                   "1 4 2",
		from + "&order=asc":                    "2 4 1",
		from + "&status=any":                   "1 4 2",
		from + "&status=created":               "3",
		from + "&status=SENT,voided":           "1 4",
		from + "&order_by=created":             "4 2 1",
		from + "&to_date=2026-03-01T12:01:00Z": "1 2",
		"from_date=2026-03-01T12:00:30Z":       "4 2",
		from + "&from_to_status=completed":     "2",
		"from_date=2026-03-02":                 "",
		"envelope_ids=00000000-0000-4000-8000-000000000004,unknown": "4",
	} {
		got, _ := w.listed(query)
		require.Equal(t, want, got, query)
	}
	_, empty := w.listed("from_date=2026-03-02")
	require.Equal(t, "0", empty["totalSetSize"])
	require.NotContains(t, empty, "envelopes")
	_, bare := w.listed(from)
	require.NotContains(t, bare["envelopes"].([]any)[0], "recipients")
	_, full := w.listed(from + "&include=recipients")
	require.Contains(t, full["envelopes"].([]any)[0], "recipients")
	for _, bad := range []string{"", "from_date=soon", from + "&count=x", from + "&start_position=-1", from + "&order_by=colour"} {
		got := w.want(400, "GET", below("lakeshore", "/envelopes?"+bad), nil, w.token("lakeshore")).object(t)
		require.Equal(t, "INVALID_REQUEST_PARAMETER", got["errorCode"])
	}
}

func TestListsPagesLeadOnByNextURI(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	for i := range 7 {
		w.envelope("lakeshore", fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1), map[string]any{"status": "sent"})
		w.clock.move(time.Second)
	}
	h, seen := w.token("lakeshore"), 0
	next := strings.TrimPrefix(below("lakeshore", "/envelopes?from_date=2026-03-01&count=3"), "/docusign/restapi/v2.1")
	for _, size := range []string{"3", "3", "1"} {
		got := w.want(200, "GET", "/docusign/restapi/v2.1"+next, nil, h).object(t)
		require.Equal(t, size, got["resultSetSize"])
		require.Equal(t, "7", got["totalSetSize"])
		require.Equal(t, strconv.Itoa(seen), got["startPosition"])
		seen += len(got["envelopes"].([]any))
		require.Equal(t, strconv.Itoa(seen-1), got["endPosition"])
		next = got["nextUri"].(string)
	}
	require.Empty(t, next)
}

func TestHourAndBurstAreToldAndRefusedByCode(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	h, path := w.token("lakeshore"), below("lakeshore", "/connect")
	used := 0
	for burst := range 6 {
		for i := range 500 {
			a := w.want(200, "GET", path, nil, h)
			used++
			require.Equal(t, "500", a.header.Get("X-Burstlimit-Limit"))
			require.Equal(t, strconv.Itoa(499-i), a.header.Get("X-Burstlimit-Remaining"))
			require.Equal(t, strconv.Itoa(3000-used), a.header.Get("X-Ratelimit-Remaining"))
			require.Equal(t, strconv.FormatInt(time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC).Unix(), 10), a.header.Get("X-Ratelimit-Reset"))
		}
		if burst == 0 {
			got := w.want(400, "GET", path, nil, h)
			require.Equal(t, "BURST_APIINVOCATION_LIMIT_EXCEEDED", got.object(t)["errorCode"])
			require.Empty(t, got.header.Get("Retry-After"))
		}
		w.clock.move(30 * time.Second)
	}
	require.Equal(t, "HOURLY_APIINVOCATION_LIMIT_EXCEEDED", w.want(400, "GET", path, nil, h).object(t)["errorCode"])
	w.want(200, "GET", below("redrock", "/connect"), nil, w.token("redrock"))
	w.clock.move(56 * time.Minute)
	w.want(400, "GET", path, nil, h)
	w.clock.move(time.Minute)
	w.want(200, "GET", path, nil, w.token("lakeshore"))
}

func TestReadingAnEnvelopeAgainTooSoonIsInTheJournal(t *testing.T) {
	t.Parallel()
	w := open(t, func(o *sandbox.Options) { signing(o); o.TimeScale = 60 })
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent"})
	h, path := w.token("lakeshore"), below("lakeshore", "/envelopes/"+envelopeID)
	remarks := func() (n int) {
		for _, q := range w.control(200, "GET", "/docusign/requests?account=lakeshore", nil).list(t) {
			if q["remark"] == "polled again" {
				n++
			}
		}
		return n
	}
	w.want(200, "GET", path, nil, h)
	w.want(200, "GET", path+"/recipients", nil, h)
	w.clock.move(15 * time.Second)
	w.want(200, "GET", path, nil, h)
	require.Zero(t, remarks(), "15 minutes, 60 times faster")
	w.clock.move(14 * time.Second)
	w.want(200, "GET", path, nil, h)
	require.Equal(t, 1, remarks())
	for range 16 {
		w.want(200, "GET", path, nil, h)
	}
	require.Equal(t, "Hourly_Envelope_Polling_Limit_Exceeded", w.want(400, "GET", path, nil, h).object(t)["errorCode"])
	w.clock.move(time.Minute)
	w.want(200, "GET", path, nil, w.token("lakeshore"))
}

func TestDocusignAccountsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(a, b *sandbox.Account){
		"no client":   func(a, _ *sandbox.Account) { delete(a.Credential, "client_id") },
		"no way in":   func(a, _ *sandbox.Account) { delete(a.Credential, "client_secret"); delete(a.Credential, "user_id") },
		"no key":      func(a, _ *sandbox.Account) { a.Credential["private_key"] = "no PEM" },
		"no id":       func(a, _ *sandbox.Account) { a.ExternalID = "" },
		"the same id": func(a, b *sandbox.Account) { a.ExternalID = strings.ToUpper(b.ExternalID) },
		"one user":    func(a, b *sandbox.Account) { a.Credential["user_id"] = b.Credential["user_id"] },
	} {
		o := sandbox.Options{Tenants: tenants()}
		signing(&o)
		spoil(&o.Tenants[0].Accounts[2], &o.Tenants[1].Accounts[2])
		_, err := sandbox.New(o)
		require.Error(t, err, name)
	}
}

func TestSigningStoriesEndAsTruthSays(t *testing.T) {
	t.Parallel()
	w := open(t, func(o *sandbox.Options) {
		signing(o)
		o.Tenants[0].FollowUpBoss.Notes = true
	})
	require.NoError(t, w.box.Story(t.Context(), sandbox.StoryOptions{Seed: 7, Deals: 60, PerSecond: 500}))
	kinds, notes := map[string]int{}, 0
	for id, tenant := range w.truths().Tenants {
		require.Len(t, tenant.Envelopes, len(tenant.Deals))
		for key, e := range tenant.Envelopes {
			require.True(t, strings.HasPrefix(key, id+"/docusign/main/envelope/"), key)
			require.Equal(t, e.Kind == "none", e.Deal == nil, key)
			if e.Deal != nil {
				require.Contains(t, tenant.Deals, *e.Deal)
			}
			kinds[e.Kind]++
		}
		for _, p := range tenant.People {
			require.Equal(t, id == "lakeshore", p.Notes != nil)
			if p.Notes != nil {
				notes += *p.Notes
			}
		}
	}
	require.Len(t, kinds, 5)
	require.Positive(t, notes)
	got, _ := w.listed(url.Values{"from_date": {"2026-01-01"}}.Encode())
	require.NotEmpty(t, got)
}
