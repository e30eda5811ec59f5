package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"conveyance/avro/event"
	"conveyance/internal/ledger"
)

// scene is one promise about DocuSign, kept on a bus on which other scenes are played.
type scene struct {
	name string
	play func(context.Context, *bus)
}

func TestEnvelopes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every process: left out by -short")
	}
	b := start(t)
	for _, s := range []scene{
		{"RefusalsAreAllTheSame", refusals},
		{"SignedWebhookBecomesARichEventOnItsDealOnceHoweverOftenItIsReplayed", replays},
		{"TwentyWebhooksInASecondAreOneRead", twenty},
		{"AddressInAWebhookIsNeverDialled", addresses},
		{"KeysRotateWithNoRequestLost", rotation},
		{"PersonTiesAndUntiesAnEnvelope", links},
		{"EnvelopeBeforeItsDealWaitsAndFlowsWithIt", early},
		{"LateAndReorderedWebhooksBringNoOlderStateBack", disorder},
		{"AccountWithoutConsentWaitsAloneAndFlowsInOrder", consent},
		{"RotatedSecretIsAsked", rotatedSecret},
		{"DoorThatIsKilledLosesNoWebhook", doorKilled},
		{"EveryAcknowledgedWebhookIsInTheLogThoughKafkaIsAway", kafkaAway},
		{"RotatedSecretIsOver", rotatedSecretOver},
	} {
		t.Run(s.name, func(t *testing.T) { s.play(t.Context(), b.on(t)) })
	}
	b.settled(t.Context())
	for _, r := range b.journal(t.Context()) {
		require.NotEqual(t, "polled again", r.Remark, r.Path)
	}
}

// refusals are told apart by nobody outside; they leave five on lakeshore's count, of which
// rotatedSecret is the consequence.
func refusals(ctx context.Context, b *bus) {
	p := paper{"lakeshore", "eeeeeeee-0000-4000-8000-000000000001"}
	body := b.body(p, docusignIDs["lakeshore"], 1, "")
	good := b.signed("lakeshore", body)
	with := func(change func(*delivery)) delivery {
		d := delivery{good.method, good.url, good.header.Clone(), good.body}
		change(&d)
		return d
	}
	refused := []delivery{
		with(func(d *delivery) { d.header = signature("another key", body) }),
		with(func(d *delivery) { d.header.Del("X-Docusign-Signature-1") }),
		with(func(d *delivery) { d.url = d.url[:strings.LastIndexByte(d.url, '/')+1] + strings.Repeat("A", 43) }),
		b.signed("lakeshore", b.body(p, docusignIDs["redrock"], 1, "")),
		with(func(d *delivery) { d.url = b.signed("redrock", body).url }),
		with(func(d *delivery) { d.header["X-Docusign-Signature-1"][0] = "no signature" }),
	}
	want := answer{
		status: http.StatusUnauthorized, header: http.Header{"Content-Length": {"0"}},
	}
	for i, d := range refused {
		require.Equal(b.t, want, b.send(ctx, d), i)
	}
	for range 3 {
		require.Equal(b.t, want, b.send(ctx, refused[0]))
	}
	for status, d := range map[int]delivery{
		http.StatusRequestEntityTooLarge: b.signed("lakeshore", bytes.Repeat([]byte(" "), 2<<20)),
		http.StatusUnsupportedMediaType:  with(func(d *delivery) { d.header.Set("Content-Encoding", "gzip") }),
		http.StatusMethodNotAllowed:      with(func(d *delivery) { d.method, d.body = http.MethodGet, nil }),
	} {
		require.Equal(b.t, status, b.send(ctx, d).status)
	}
	for _, m := range b.messages(ctx, "webhooks.docusign.v1") {
		require.NotContains(b.t, string(m.Message.(*event.WebhookReceived).Body), p.id)
	}
}

// replayed is how often a captured request comes again.
const replayed = 1000

func replays(ctx context.Context, b *bus) {
	s := b.sale(ctx, "lakeshore", 10)
	b.await("the deal in the CRM", func() bool { return b.known(ctx, s) })
	p := b.paper(ctx, "lakeshore", 10, s.guid, s.email)
	b.await("the signature on its deal", func() bool { return b.documents(ctx, p, s) == 1 })
	b.await("the note", func() bool { return b.notes(ctx, s) == 1 })
	keys, signed := b.signatures(ctx, p)
	require.Equal(b.t, []string{s.key()}, keys)
	e := signed[0]
	require.Equal(b.t, s.key(), *e.DealKey)
	require.Equal(b.t, "62701", e.Deal.Property.PostalCode)
	require.EqualValues(b.t, 40001000, e.Deal.SalePrice.Minor)
	require.Len(b.t, e.Deal.Participants, 1)
	require.Equal(b.t, []string{s.email}, e.Signer.Emails)
	require.Equal(b.t, "Purchase Agreement.pdf", e.DocumentName)
	require.True(b.t, e.EnvelopeComplete)

	var captured *event.WebhookReceived
	for _, m := range b.messages(ctx, "webhooks.docusign.v1") {
		if w := m.Message.(*event.WebhookReceived); bytes.Contains(w.Body, []byte(p.id)) {
			captured = w
		}
	}
	require.NotNil(b.t, captured)
	again := b.signed("lakeshore", captured.Body)
	again.header = http.Header{"Content-Type": {"application/json"}}
	for _, h := range captured.Headers {
		again.header.Set(h.Name, h.Value)
	}
	b.handled(ctx)
	before := b.broughtAbout(ctx, p, s)
	var taken atomic.Int64
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range replayed / 8 {
				if b.send(ctx, again).status == http.StatusOK {
					taken.Add(1)
				}
			}
		})
	}
	work.Wait()
	require.EqualValues(b.t, replayed, taken.Load())
	b.handled(ctx)
	require.Equal(b.t, before, b.broughtAbout(ctx, p, s))
}

// broughtAbout is all that an envelope has brought about.
func (b *bus) broughtAbout(ctx context.Context, p paper, s sale) string {
	b.t.Helper()
	keys, _ := b.signatures(ctx, p)
	snapshots := 0
	for _, m := range b.messages(ctx, "snapshots.docusign.v1") {
		if m.key == p.key() {
			snapshots++
		}
	}
	effects := b.one(ctx, "SELECT count(*) FROM followupboss.ledger WHERE state = $1", ledger.Applied)
	return fmt.Sprintf("%d signatures, %d snapshots, %d reads, %d notes, %d links, %d effects",
		len(keys), snapshots, b.reads(ctx, p), b.notes(ctx, s), len(b.linked(ctx, p)), effects)
}

func twenty(ctx context.Context, b *bus) {
	s := b.sale(ctx, "lakeshore", 11)
	b.control(ctx, http.MethodPost, "/docusign/faults",
		`{"account":"lakeshore","match":"GET /restapi/*/envelopes/*","times":1,"fault":"slow:0.3"}`, nil)
	p := paper{"lakeshore", "eeeeeeee-0000-4000-8000-000000000011"}
	var work sync.WaitGroup
	b.write(ctx, p, "completed", s.guid, 1, s.email)
	for n := range 20 {
		work.Go(func() { b.send(ctx, b.thin(p, n)) })
	}
	work.Wait()
	b.await("the signature on its deal", func() bool { return b.documents(ctx, p, s) == 1 })
	b.handled(ctx)
	require.Equal(b.t, 1, b.reads(ctx, p))
}

func addresses(ctx context.Context, b *bus) {
	canary, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	require.NoError(b.t, err)
	defer func() { _ = canary.Close() }()
	var dialled atomic.Int64
	go func() {
		for {
			c, err := canary.Accept()
			if err != nil {
				return
			}
			dialled.Add(1)
			_ = c.Close()
		}
	}()
	s, at := b.sale(ctx, "lakeshore", 12), canary.Addr().String()
	p := paper{"lakeshore", "eeeeeeee-0000-4000-8000-000000000012"}
	b.control(ctx, http.MethodPut, "/docusign/envelopes/"+p.id+"?tenant=lakeshore", fmt.Sprintf(
		`{"envelopeUri":"http://%[1]s/","documentsUri":"//%[1]s/","recipientsUri":"http://169.254.169.254/"}`, at), nil)
	b.write(ctx, p, "completed", s.guid, 1, s.email)
	for n, uri := range []string{
		"http://169.254.169.254/latest/meta-data/", "http://" + at + "/envelopes/" + p.id, "//" + at + "/", "@" + at + "/",
		"http://[::ffff:169.254.169.254]/", "file:///etc/passwd",
	} {
		d := b.signed("lakeshore", b.body(p, docusignIDs["lakeshore"], n, uri))
		require.Equal(b.t, http.StatusOK, b.send(ctx, d).status)
	}
	b.await("the signature on its deal", func() bool { return b.documents(ctx, p, s) == 1 })
	b.handled(ctx)
	require.Zero(b.t, dialled.Load())
	require.NotZero(b.t, b.reads(ctx, p), "it was read, at the configured base")
}
