package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/avro/wire"
	"conveyance/internal/chaos"
)

// docusignIDs are the demonstration's accounts as DocuSign calls them.
var docusignIDs = map[string]string{
	"lakeshore": "8d0c6a52-1f4e-4b7e-9a3f-2c5de1f6a901",
	"redrock":   "e71b5f04-93ad-4c28-8f60-7b1a4d92c3b7",
}

// paper is an envelope of the test's own.
type paper struct{ tenant, id string }

func (p paper) key() string { return p.tenant + "/docusign/main/envelope/" + p.id }

// deal is a deal's key.
func (s sale) key() string { return s.tenant + "/skyslope/main/sale/" + s.guid }

// paper makes an envelope of one document that everybody has signed. What field names is its deal id.
func (b *bus) paper(ctx context.Context, tenant string, n int, dealID string, signers ...string) paper {
	b.t.Helper()
	p := paper{tenant, fmt.Sprintf("eeeeeeee-0000-4000-8000-%012d", n)}
	b.write(ctx, p, "completed", dealID, len(signers), signers...)
	return p
}

// write is what the vendor's people do to an envelope: the first n of its signers have signed.
func (b *bus) write(ctx context.Context, p paper, status, dealID string, n int, signers ...string) {
	b.t.Helper()
	people := make([]map[string]any, len(signers))
	for i, email := range signers {
		id := strconv.Itoa(i + 1)
		people[i] = map[string]any{"recipientId": id, "name": "Robin Buyer", "email": email, "status": "sent"}
		if i < n {
			people[i]["status"] = "completed"
		}
	}
	fields := []any{}
	if dealID != "" {
		fields = append(fields, map[string]any{"name": "Deal ID", "value": dealID})
	}
	document := map[string]any{"documentId": "1", "name": "Purchase Agreement.pdf", "type": "content"}
	body, err := json.Marshal(map[string]any{
		"status": status, "recipients": map[string]any{"signers": people},
		"customFields": map[string]any{"textCustomFields": fields}, "envelopeDocuments": []any{document},
	})
	require.NoError(b.t, err)
	b.control(ctx, http.MethodPut, "/docusign/envelopes/"+p.id+"?tenant="+p.tenant, string(body), nil)
}

// documents are the envelope's signatures on a deal, in the warehouse.
func (b *bus) documents(ctx context.Context, p paper, s sale) int {
	b.t.Helper()
	return b.one(ctx, "SELECT count(*) FROM warehouse.deal_document WHERE resource_key = $1 AND deal_key = $2",
		p.key(), s.key())
}

// notes are those of signatures on a buyer's timeline.
func (b *bus) notes(ctx context.Context, s sale) (n int) {
	b.t.Helper()
	var people []struct {
		ID     int64 `json:"id"`
		Emails []struct {
			Value string `json:"value"`
		} `json:"emails"`
	}
	b.control(ctx, http.MethodGet, "/followupboss/people?tenant="+s.tenant, "", &people)
	var notes []struct {
		PersonID int64  `json:"personId"`
		Subject  string `json:"subject"`
	}
	b.control(ctx, http.MethodGet, "/followupboss/notes?tenant="+s.tenant, "", &notes)
	of := map[int64]string{}
	for _, p := range people {
		for _, e := range p.Emails {
			of[p.ID] = strings.ToLower(e.Value)
		}
	}
	for _, note := range notes {
		if of[note.PersonID] == s.email && note.Subject == "Document signed" {
			n++
		}
	}
	return n
}

// delivery is a webhook that the test sends itself.
type delivery struct {
	method, url string
	header      http.Header
	body        []byte
}

// thin is a signed webhook that names an envelope and holds nothing of it. Another n is another
// delivery.
func (b *bus) thin(p paper, n int) delivery {
	return b.signed(p.tenant, b.body(p, docusignIDs[p.tenant], n, "/restapi/v2.1/accounts/1/envelopes/"+p.id))
}

func (b *bus) body(p paper, account string, n int, uri string) []byte {
	made := time.UnixMilli(1_770_000_000_000 + int64(n)).UTC().Format(time.RFC3339Nano)
	return fmt.Appendf(nil, `{"event":"envelope-completed","apiVersion":"v2.1","uri":%q,"retryCount":0,
		"configurationId":900,"generatedDateTime":%q,"data":{"accountId":%q,"userId":"u","envelopeId":%q}}`,
		uri, made, account, p.id)
}

// signed is a body on its way to a brokerage's door, signed with its first key.
func (b *bus) signed(tenant string, body []byte) delivery {
	account := b.Info.Tenants[tenant].Accounts["docusign/main"]
	return delivery{http.MethodPost, account.Webhook, signature(account.Secret, body), body}
}

func signature(key string, body []byte) http.Header {
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = mac.Write(body)
	return http.Header{
		"Content-Type":           {"application/json; charset=utf-8"},
		"X-Docusign-Signature-1": {base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
}

// answer is all that a stranger sees of one, but for the date.
type answer struct {
	status int
	header http.Header
	body   string
}

// send delivers, and returns status 0 where nobody answers.
func (b *bus) send(ctx context.Context, d delivery) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, d.method, d.url, bytes.NewReader(d.body))
	require.NoError(b.t, err)
	req.Header = d.header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	resp.Header.Del("Date")
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// message is a record of a topic.
type message struct {
	key string
	event.Message
}

// messages are all that a topic holds now.
func (b *bus) messages(ctx context.Context, topic string) []message {
	b.t.Helper()
	codec, err := wire.New(wire.Config{Registry: b.Info.Registry, Prefix: b.Info.TopicPrefix})
	require.NoError(b.t, err)
	var all []message
	for _, r := range b.read(ctx, b.Info.TopicPrefix+topic) {
		m, err := codec.Decode(ctx, r.Value)
		require.NoError(b.t, err)
		all = append(all, message{string(r.Key), m})
	}
	return all
}

// signatures are the events of an envelope, with the deals' keys that they were written under.
func (b *bus) signatures(ctx context.Context, p paper) (keys []string, all []*event.DocumentSigned) {
	b.t.Helper()
	for _, m := range b.messages(ctx, "deals.v1") {
		if e, ok := m.Message.(*event.DocumentSigned); ok && e.EnvelopeID == p.id {
			keys, all = append(keys, m.key), append(all, e)
		}
	}
	return keys, all
}

// handled waits until every group has handled all that its topics hold, one topic after the other: what
// was sent before has had its consequences.
func (b *bus) handled(ctx context.Context) {
	b.t.Helper()
	b.await("every group at the end of its topics", func() bool {
		for range 2 { // what the first groups wrote meanwhile is handled, too
			end, err := b.Ends(ctx)
			require.NoError(b.t, err)
			behind := false
			for _, group := range chaos.Groups() {
				require.NoError(b.t, b.Offsets(ctx, group, func(place string, next int64) {
					behind = behind || next < end[place]
				}))
			}
			if behind {
				return false
			}
		}
		return true
	})
}

// request is a line of a simulated vendor's journal.
type request struct {
	Method, Path, Remark string
	Status               int
}

// reads are the calls that read an envelope at the vendor.
func (b *bus) reads(ctx context.Context, p paper) (n int) {
	b.t.Helper()
	for _, r := range b.journal(ctx) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.Path, "/envelopes/"+p.id) {
			n++
		}
	}
	return n
}

func (b *bus) journal(ctx context.Context) (all []request) {
	b.t.Helper()
	b.control(ctx, http.MethodGet, "/docusign/requests", "", &all)
	return all
}
