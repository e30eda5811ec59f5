package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/internal/sandbox"
)

// quick has Connect try again soon enough for a test.
func quick(o *sandbox.Options) { signing(o); o.WebhookRetry = 20 * time.Millisecond }

// slow has it try again never.
func slow(o *sandbox.Options) { signing(o); o.WebhookRetry = time.Hour }

func TestConnectConfigurationsAreMadeChangedAndDeleted(t *testing.T) {
	t.Parallel()
	w := open(t, signing)
	id := w.subscribe("lakeshore", "https://hooks.example.com/in/docusign/x", nil)
	h, path := w.token("lakeshore"), below("lakeshore", "/connect")
	list := w.want(200, "GET", path, nil, h).object(t)
	require.Equal(t, "1", list["totalRecords"])
	cfg := list["configurations"].([]any)[0].(map[string]any)
	require.Equal(t, id, cfg["connectId"])
	require.Equal(t, "https://hooks.example.com/in/docusign/x", cfg["urlToPublishTo"])
	require.Equal(t, list["configurations"], w.want(200, "GET", path+"/"+id, nil, h).object(t)["configurations"])

	changed := w.want(200, "PUT", path, map[string]any{"connectId": id, "allowEnvelopePublish": "false"}, h).object(t)
	require.Equal(t, "false", changed["allowEnvelopePublish"])
	require.Equal(t, "bus", changed["name"], "it is merged")
	w.want(404, "PUT", path, map[string]any{"connectId": "77"}, h)
	for _, url := range []string{"", "http://hooks.example.com/", "ftp://127.0.0.1/", "::"} {
		w.want(400, "POST", path, map[string]any{"urlToPublishTo": url}, h)
		w.want(400, "PUT", path, map[string]any{"connectId": id, "urlToPublishTo": url}, h)
	}
	w.want(404, "DELETE", below("redrock", "/connect/"+id), nil, w.token("redrock"))
	w.want(200, "DELETE", path+"/"+id, nil, h)
	w.want(404, "GET", path+"/"+id, nil, h)
	require.Equal(t, "0", w.want(200, "GET", path, nil, h).object(t)["totalRecords"])
	w.control(200, "PUT", "/docusign/connect/500?tenant=lakeshore", map[string]any{"name": "by hand"})
	w.control(400, "PUT", "/docusign/connect/x?tenant=lakeshore", map[string]any{})
	require.Greater(t, w.subscribe("lakeshore", "https://hooks.example.com/", nil), "500", "a new id meets no chosen one")
}

func TestWebhooksTellWhatHappenedSignedWithEveryKey(t *testing.T) {
	t.Parallel()
	w, l := open(t, signing), listen(t)
	id := w.subscribe("lakeshore", l.url, nil)
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent", "recipients": signers(0)})
	p := l.next()
	require.Equal(t, "envelope-sent", p.event)
	require.JSONEq(t, `{"event":"envelope-sent","apiVersion":"v2.1","uri":"/restapi/v2.1/accounts/`+accountIDs["lakeshore"]+`/envelopes/`+envelopeID+`",
		"retryCount":0,"configurationId":`+id+`,"generatedDateTime":"2026-03-01T12:00:00.0000000Z","data":{"accountId":"`+accountIDs["lakeshore"]+`",
		"userId":"`+userIDs["lakeshore"]+`","envelopeId":"`+envelopeID+`"}}`, string(p.body))
	require.True(t, p.signedBy("1", "first-lakeshore"))
	require.True(t, p.signedBy("2", "second-lakeshore"))
	require.Empty(t, p.header.Get("X-DocuSign-Signature-3"))
	require.Equal(t, "HMACSHA256", p.header.Get("X-Authorization-Digest"))

	w.control(200, "PUT", "/docusign/keys?tenant=lakeshore", map[string]any{"keys": []string{"third"}})
	w.envelope("lakeshore", envelopeID, map[string]any{"recipients": signers(1)})
	p = l.next()
	require.Equal(t, "recipient-completed", p.event)
	require.Equal(t, "1", p.data["recipientId"])
	require.True(t, p.signedBy("1", "third"))
	require.Empty(t, p.header.Get("X-DocuSign-Signature-2"))
	require.Equal(t, []any{"third"}, w.control(200, "GET", "/docusign/keys?tenant=lakeshore", nil).object(t)["keys"])
	w.control(400, "PUT", "/docusign/keys?tenant=lakeshore", map[string]any{"keys": []string{""}})

	w.envelope("lakeshore", envelopeID, map[string]any{"recipients": signers(1)})
	w.envelope("redrock", envelopeID, map[string]any{"status": "sent"})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "voided"})
	require.Equal(t, "voided", l.events(1), "nothing happened in between, here")
	require.Eventually(t, func() bool {
		d := w.deliveries()
		return len(d) == 3 && d[2]["status"] == "sent"
	}, patience, look)
	d := w.deliveries()[1]
	require.Equal(t, "lakeshore/main", d["account"])
	require.Equal(t, "recipient-completed", d["event"])
	require.InDelta(t, 200, d["http_status"], 0)
	require.Len(t, w.control(200, "GET", "/docusign/deliveries?account=lakeshore&after=2", nil).list(t), 1)
	require.Empty(t, w.control(200, "GET", "/docusign/deliveries?account=redrock", nil).list(t))
	w.control(400, "GET", "/docusign/deliveries?after=x", nil)
}

func TestSummaryComesWhereItIsAskedForWithEveryLeafAsText(t *testing.T) {
	t.Parallel()
	w, l := open(t, signing), listen(t)
	w.subscribe("lakeshore", l.url, map[string]any{"eventData": map[string]any{
		"version": "restv2.1", "includeData": []any{"recipients", "custom_fields", "documents"},
	}})
	w.envelope("lakeshore", envelopeID, map[string]any{
		"status": "completed", "recipients": signers(2), "expireAfter": 120, "allowComments": true, "envelopeDocuments": []any{map[string]any{"name": "a"}},
	})
	var p post
	for p.event != "envelope-completed" {
		p = l.next()
	}
	summary := p.data["envelopeSummary"].(map[string]any)
	require.Equal(t, "completed", summary["status"])
	require.Equal(t, "120", summary["expireAfter"])
	require.Equal(t, "true", summary["allowComments"])
	require.Nil(t, summary["anySigner"])
	require.Len(t, summary["envelopeDocuments"], 2)
	require.Contains(t, summary, "customFields")
	require.Len(t, summary["recipients"].(map[string]any)["signers"], 2)
}

func TestConfigurationsThatAreNotCompleteSendNothing(t *testing.T) {
	t.Parallel()
	w, l := open(t, signing), listen(t)
	for _, patch := range []map[string]any{
		{"allowEnvelopePublish": "false"},
		{"allUsers": "false"},
		{"deliveryMode": "aggregate"},
		{"eventData": nil},
		{"eventData": map[string]any{"version": "restv2"}},
		{"events": []any{"envelope-voided"}},
	} {
		w.subscribe("lakeshore", l.url, patch)
	}
	unsigned := w.subscribe("lakeshore", l.url, map[string]any{"includeHMAC": "false", "allUsers": "false", "userIds": []any{userIDs["lakeshore"]}})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent"})
	require.Empty(t, l.next().header.Get("X-DocuSign-Signature-1"))
	d := w.deliveries()
	require.Len(t, d, 1)
	require.Equal(t, unsigned, d[0]["config"])
}

func TestWhatWasNotTakenComesInOrderAfterRecovery(t *testing.T) {
	t.Parallel()
	w, l := open(t, slow), listen(t)
	id := w.subscribe("lakeshore", l.url, nil)
	l.say(503)
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent", "recipients": signers(0)})
	require.InDelta(t, 0, l.next().retry, 0)
	require.Eventually(t, func() bool { return w.deliveries()[0]["status"] == "retrying" }, patience, look)
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "delivered", "recipients": signers(1)})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "completed", "recipients": signers(2)})
	again := func() { w.control(200, "PUT", "/docusign/connect/"+id+"?tenant=lakeshore", map[string]any{}) }
	again()
	first := l.next()
	require.Equal(t, "envelope-sent", first.event, "while it is down the first only is tried")
	require.InDelta(t, 1, first.retry, 0)
	require.Eventually(t, func() bool { return w.deliveries()[0]["attempts"] == 2.0 }, patience, look)
	for _, d := range w.deliveries()[1:] {
		require.Equal(t, "waiting", d["status"])
	}
	l.say(200)
	again()
	require.Equal(t, "sent recipient-completed1 delivered recipient-completed2 completed", l.events(5))
}

func TestMessagesAreGivenUpAfterTenTriesAndSentAgainOnRequest(t *testing.T) {
	t.Parallel()
	w, l := open(t, func(o *sandbox.Options) { signing(o); o.WebhookRetry = time.Millisecond }), listen(t)
	l.say(500)
	w.subscribe("lakeshore", l.url, nil)
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent"})
	for retry := range 11 {
		require.InDelta(t, retry, l.next().retry, 0)
	}
	h := w.token("lakeshore")
	require.Eventually(t, func() bool { return w.deliveries()[0]["status"] == "failed" }, patience, look)
	failures := w.want(200, "GET", below("lakeshore", "/connect/failures"), nil, h).object(t)
	failure := failures["failures"].([]any)[0].(map[string]any)
	require.Equal(t, envelopeID, failure["envelopeId"])
	require.Equal(t, "10", failure["retryCount"])
	require.Equal(t, "Failed", failure["status"])
	require.InDelta(t, 11, w.deliveries()[0]["attempts"], 0)

	l.say(200)
	for _, path := range []string{"/connect/envelopes/" + envelopeID + "/retry_queue", "/connect/envelopes/retry_queue"} {
		body := map[string]any{"envelopeIds": []string{envelopeID}, "synchronous": "false"}
		got := w.want(200, "PUT", below("lakeshore", path), body, h).object(t)
		if path == "/connect/envelopes/retry_queue" {
			require.Empty(t, got["retryQueue"], "it went out already")
			break
		}
		require.Len(t, got["retryQueue"], 1)
		require.Equal(t, "sent", l.events(1))
		require.Eventually(t, func() bool { return w.deliveries()[0]["status"] == "sent" }, patience, look)
	}
	require.Equal(t, "0", w.want(200, "GET", below("lakeshore", "/connect/failures"), nil, h).object(t)["totalRecords"])
	logs := w.want(200, "GET", below("lakeshore", "/connect/logs"), nil, h).object(t)
	require.Equal(t, "Success", logs["logs"].([]any)[0].(map[string]any)["status"])
	w.want(400, "PUT", below("lakeshore", "/connect/envelopes/retry_queue"), "{", h)
}

func TestNothingIsTriedAgainWhereNoAcknowledgementIsRequired(t *testing.T) {
	t.Parallel()
	w, l := open(t, quick), listen(t)
	l.say(500)
	w.subscribe("lakeshore", l.url, map[string]any{"requiresAcknowledgement": "false"})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent"})
	require.Equal(t, "sent", l.events(1))
	require.Eventually(t, func() bool { return w.deliveries()[0]["status"] == "failed" }, patience, look)
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "completed"})
	require.Equal(t, "completed", l.events(1))
}

func TestMendedConfigurationIsTriedAtOnceAtItsNewURL(t *testing.T) {
	t.Parallel()
	w, old, mended := open(t, slow), listen(t), listen(t)
	old.say(404)
	id := w.subscribe("lakeshore", old.url, nil)
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent"})
	old.next()
	require.Eventually(t, func() bool { return w.deliveries()[0]["status"] == "retrying" }, patience, look)
	w.want(200, "PUT", below("lakeshore", "/connect"), map[string]any{"connectId": id, "urlToPublishTo": mended.url}, w.token("lakeshore"))
	require.InDelta(t, 1, mended.next().retry, 0)
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "completed"})
	require.Equal(t, "completed", mended.events(1))
}

func TestWebhooksAreDuplicatedReorderedAndLate(t *testing.T) {
	t.Parallel()
	w, l := open(t, signing), listen(t)
	w.subscribe("lakeshore", l.url, nil)
	w.fault("docusign", map[string]any{"account": "lakeshore", "times": 1, "fault": "duplicate:2"})
	w.token("lakeshore") // no request is struck
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent"})
	first := l.next()
	for range 2 {
		require.Equal(t, first.body, l.next().body)
	}
	w.fault("docusign", map[string]any{"match": "WEBHOOK envelope-delivered", "times": 1, "fault": "reorder"})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "delivered"})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "completed"})
	require.Equal(t, "completed delivered", l.events(2))
	w.fault("docusign", map[string]any{"match": "WEBHOOK *", "times": 1, "fault": "late:0.2"})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent"})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "voided"})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "declined"})
	require.Contains(t, []string{"voided declined sent", "declined voided sent"}, l.events(3))
	require.Empty(t, w.control(200, "GET", "/docusign/faults", nil).list(t))
	w.control(400, "POST", "/docusign/faults", map[string]any{"match": "WEBHOOK *", "fault": "hang"})
}

func TestReorderedMessageThatNoneFollowsComesByItself(t *testing.T) {
	t.Parallel()
	w, l := open(t, signing), listen(t)
	w.subscribe("lakeshore", l.url, nil)
	w.fault("docusign", map[string]any{"times": 1, "fault": "reorder"})
	w.envelope("lakeshore", envelopeID, map[string]any{"status": "sent"})
	require.Equal(t, "sent", l.events(1))
}

func TestClosingEndsWebhooksThatHang(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	var once sync.Once
	asked := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(held)
	w := open(t, signing)
	w.subscribe("lakeshore", srv.URL, nil)
	for i := range 20 {
		w.envelope("lakeshore", envelopeID, map[string]any{"status": []string{"sent", "delivered"}[i%2]})
	}
	<-asked
	began := time.Now()
	require.NoError(t, w.box.Close())
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestOneConfigurationThatIsDownHoldsNoOther(t *testing.T) {
	t.Parallel()
	w, down, up := open(t, slow), listen(t), listen(t)
	down.say(503)
	w.subscribe("lakeshore", down.url, nil)
	w.subscribe("lakeshore", up.url, nil)
	for _, status := range []string{"sent", "delivered", "completed"} {
		w.envelope("lakeshore", envelopeID, map[string]any{"status": status})
		require.Equal(t, status, up.events(1))
	}
}
