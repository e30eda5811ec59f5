package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"conveyance/avro/event"
	"conveyance/internal/tenant"
	"conveyance/producers/docusign"
)

// completed is a webhook as DocuSign sends it of an envelope that one person has signed, with the names
// of its documents (the account's setting include_documents): leaves are texts.
const completed = `{"event":"envelope-completed","apiVersion":"v2.1",
"uri":"/restapi/v2.1/accounts/%[1]s/envelopes/%[2]s","retryCount":0,"configurationId":22028153,"generatedDateTime":"%[3]s",
"data":{"accountId":"%[1]s","userId":"fdb7fd81-065c-44f0-8376-daa56da18c13","envelopeId":"%[2]s",
"envelopeSummary":{"status":"completed","documentsUri":"/envelopes/%[2]s/documents","recipientsUri":"/envelopes/%[2]s/recipients",
"envelopeUri":"/envelopes/%[2]s","emailSubject":"Please sign: 1420 N Larkspur Lane","envelopeId":"%[2]s","signingLocation":"online",
"customFieldsUri":"/envelopes/%[2]s/custom_fields","enableWetSign":"true","allowMarkup":"false","allowReassign":"true",
"createdDateTime":"2026-01-12T14:59:00.0300000Z","lastModifiedDateTime":"2026-01-12T15:00:00.9900000Z",
"sentDateTime":"2026-01-12T15:00:01.1100000Z","deliveredDateTime":"2026-01-12T15:30:00.0000000Z",
"completedDateTime":"%[3]s","statusChangedDateTime":"%[3]s",
"expireEnabled":"true","expireDateTime":"2026-05-12T15:00:01.1100000Z","expireAfter":"120",
"sender":{"userName":"Nora Vance","userId":"fdb7fd81-065c-44f0-8376-daa56da18c13","accountId":"%[1]s","email":"nora.vance@example.com"},
"customFields":{"textCustomFields":[{"fieldId":"1","name":"Deal ID","show":"true","required":"false","value":"%[4]s"}],"listCustomFields":[]},
"recipients":{"signers":[{"recipientId":"1","recipientIdGuid":"4575d5e9-7654-467b-b2f5-6c59ca7c43f1",
"userId":"b72bd827-0000-4000-8000-000000000001","recipientType":"signer","name":"Mira Holt","email":"%[5]s","roleName":"Buyer",
"routingOrder":"1","status":"completed","sentDateTime":"2026-01-12T15:00:01.1100000Z","creationReason":"sender","completedCount":"1",
"deliveryMethod":"email","signedDateTime":"%[3]s","deliveredDateTime":"2026-01-12T15:30:00.0000000Z"}],
"agents":[],"editors":[],"intermediaries":[],"carbonCopies":[],"certifiedDeliveries":[],"inPersonSigners":[],"seals":[],"witnesses":[],
"notaries":[],"recipientCount":"1","currentRoutingOrder":"1"},
"envelopeDocuments":[{"documentId":"1","documentIdGuid":"0c1a7b1e-3d0c-4f5e-9c1d-2f6f1f6b0a01","name":"Purchase Agreement.pdf","type":"content",
"order":"1","uri":"/envelopes/%[2]s/documents/1"},{"documentId":"certificate","name":"Summary","type":"summary","order":"999",
"uri":"/envelopes/%[2]s/documents/certificate"}],
"purgeState":"unpurged","envelopeIdStamping":"true","signerCanSignOnMobile":"true","autoNavigation":"true","anySigner":null}}}`

// envelopeOf the i-th webhook: each is about another one.
func envelopeOf(i int) event.Resource {
	return event.Resource{
		Tenant: "lakeshore", Vendor: docusign.Name, Account: "main", Kind: docusign.KindEnvelope,
		ID: fmt.Sprintf("4d3420b8-ce24-8a0a-8135-%012d", i),
	}
}

// envelope is the i-th webhook's body. It names its deal in a field, and is signed by the deal's buyer.
func envelope(i, deals int) []byte {
	at := time.UnixMilli(1_780_000_000_000 + int64(i)).UTC().Format("2006-01-02T15:04:05.0000000Z")
	of := i % deals
	return fmt.Appendf(nil, completed, accountGUID, envelopeOf(i).ID, at, snapshot(of).Resource.ID, fmt.Sprintf("mira.%d@example.com", of))
}

// brokerage is one's, with its accounts.
type brokerage struct{}

func (brokerage) Tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	t, err := one{}.Tenant(ctx, id)
	t.Accounts = []tenant.Account{
		{Tenant: t.ID, Vendor: "skyslope", Name: "main"},
		{
			Tenant: t.ID, Vendor: docusign.Name, Name: "main", ExternalID: accountGUID,
			Settings: json.RawMessage(`{"deal_field":"deal id","include_documents":true}`),
		},
	}
	return t, err
}

func (b brokerage) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	t, err := b.Tenant(ctx, "lakeshore")
	return []tenant.Tenant{t}, err
}

// courier delivers to a URL.
type courier struct {
	url   string
	deals int
}

// send delivers n webhooks, each when it is due and beside those that have no answer yet, until as many
// as there are senders have none.
func (c courier) send(ctx context.Context, began time.Time, from, n int) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer client.CloseIdleConnections()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(senders)
	wait := time.NewTimer(0)
	defer wait.Stop()
	for i := range n {
		wait.Reset(time.Until(due(began, i)))
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-wait.C:
		}
		g.Go(func() error { return c.deliver(ctx, client, envelope(from+i, c.deals)) })
	}
	return g.Wait()
}

func (c courier) deliver(ctx context.Context, client *http.Client, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(signature, signed(body))
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("delivering: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("a delivery of the load was answered %s", resp.Status)
	}
	return nil
}
