package bench

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/devstack/broker"
	"conveyance/internal/postgres"
	"conveyance/internal/stream"
	"conveyance/internal/tenant"
	"conveyance/producers"
	"conveyance/producers/docusign"
	"conveyance/producers/ingest"
)

const (
	// senders at once, each on a connection of its own.
	senders = 64
	// deliveryBytes of a body.
	deliveryBytes = 2 << 10
	bareWebhooks  = "bare.webhooks.v1"
	doorPath      = "/in/docusign/token-of-the-bench"
	connectKey    = "key-of-the-bench-0123456789012345678901234="
	signature     = "X-DocuSign-Signature-1"
	// turnsOf a round: what the machine does beside us changes within seconds, and a pair of short turns
	// meets the same of it.
	turnsOf     = 3
	accountGUID = "732f99f9-4a0a-4d59-9643-b5faed2026b8"
)

// ingestBench delivers signed webhooks over HTTP. The ceiling reads the body, checks one key's HMAC and
// produces the body as it is, awaiting the acknowledgement of all replicas, as ours does.
func ingestBench(ctx context.Context, l *lab) (ours, ceiling sample, err error) {
	return l.deliver(ctx, l.kafka.Addr(), l.o.Records/2)
}

// ingestFsync is the same with a broker that brings each batch to the disk first.
func ingestFsync(ctx context.Context, l *lab) (ours, ceiling sample, err error) {
	b, err := broker.Start(ctx, broker.Options{Dir: filepath.Join(l.dir, "synced"), SyncWrites: true, Log: l.log})
	if err != nil {
		return ours, ceiling, err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	return l.deliver(ctx, b.Addr(), l.o.Records/10)
}

func (l *lab) deliver(ctx context.Context, kafka string, n int) (ours, ceiling sample, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ProducerLinger(0))
	if err != nil {
		return ours, ceiling, err
	}
	defer cl.Close()
	for _, name := range []string{topic.Webhooks(docusign.Name), bareWebhooks} {
		if err := createTopic(ctx, cl, name); err != nil {
			return ours, ceiling, err
		}
	}
	m := postgres.Migrations{Schema: ingest.Schema, Set: "own", Files: ingest.Migrations()}
	if err := m.Apply(ctx, l.pg.URL); err != nil {
		return ours, ceiling, err
	}
	side := func(f func(context.Context, string, int) (sample, error), n int) func() (sample, error) {
		return func() (sample, error) { return f(ctx, kafka, n) }
	}
	for _, f := range []func() (sample, error){side(l.door, n/turnsOf), side(l.bareDoor, n/turnsOf)} {
		if _, err := f(); err != nil { // what is made once is not measured
			return ours, ceiling, fmt.Errorf("warming up: %w", err)
		}
	}
	return l.turns(turnsOf*max(1, l.o.Rounds), side(l.door, n/turnsOf), side(l.bareDoor, n/turnsOf))
}

// bareDoor runs the ceiling.
func (l *lab) bareDoor(ctx context.Context, kafka string, n int) (sample, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ProducerLinger(0))
	if err != nil {
		return sample{}, err
	}
	defer cl.Close()
	l.doing("ceiling", nil, nil)
	return l.load(ctx, bare{cl}, serveBare, n)
}

// serveBare serves a handler with net/http as it comes.
func serveBare(ctx context.Context, h http.Handler) (addr string, stop func() error, err error) {
	lis, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(lis) // ends with stop
	}()
	return lis.Addr().String(), func() error {
		defer func() { <-ended }()
		return s.Close()
	}, nil
}

// bare keeps what one key signed.
type bare struct{ cl *kgo.Client }

func (d bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !hmac.Equal([]byte(signed(body)), []byte(r.Header.Get(signature))) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	sum := sha256.Sum256(body)
	if err := d.cl.ProduceSync(r.Context(), &kgo.Record{Topic: bareWebhooks, Key: sum[:], Value: body}).FirstErr(); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func signed(body []byte) string {
	mac := hmac.New(sha256.New, []byte(connectKey))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// door runs the stage as cmd does.
func (l *lab) door(ctx context.Context, kafka string, n int) (s sample, err error) {
	deps := l.deps()
	deps.Kafka = []kgo.Opt{kgo.SeedBrokers(kafka)}
	publisher, err := stream.NewPublisher("", deps)
	if err != nil {
		return s, err
	}
	defer publisher.Close()
	vendor, err := docusign.New(producers.Deps{})
	if err != nil {
		return s, err
	}
	door, err := ingest.New(ingest.Config{}, ingest.Deps{
		Pool: l.pool, Endpoints: oneDoor{}, Tenants: one{}, Vendors: []producers.Vendor{vendor},
		Publish: published{publisher}, Log: l.log, Metrics: deps.Metrics,
	})
	if err != nil {
		return s, err
	}
	l.doing("ours", nil, door.Ready)
	return l.load(ctx, door.Handler(), func(ctx context.Context, h http.Handler) (string, func() error, error) {
		server, err := ingest.Listen(ctx, "127.0.0.1:0", h, l.log)
		if err != nil {
			return "", nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- door.Run(ctx, server.Run) }()
		return server.Addr(), func() error { cancel(); return <-ended }, nil
	}, n)
}

type published struct{ p *stream.Publisher }

func (p published) Publish(ctx context.Context, key string, w *event.WebhookReceived, done func(error)) error {
	return p.p.Send(ctx, stream.Out{Topic: topic.Webhooks(w.Vendor), Key: []byte(key), Message: w}, done)
}

// oneDoor is one account with one key.
type oneDoor struct{}

func (oneDoor) Endpoint(_ context.Context, _, token string) (tenant.Endpoint, bool) {
	return tenant.Endpoint{
		Account: tenant.Account{Tenant: "lakeshore", Vendor: docusign.Name, Name: "main", ExternalID: accountGUID},
		Keys:    []tenant.WebhookKey{{ID: "k1", Key: []byte(connectKey)}},
	}, strings.HasSuffix(doorPath, "/"+token)
}

// load sends n deliveries to a handler and returns their rate, and the 99th percentile of an answer.
func (l *lab) load(
	ctx context.Context, h http.Handler, serve func(context.Context, http.Handler) (string, func() error, error), n int,
) (s sample, err error) {
	addr, stop, err := serve(ctx, h)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	var mu sync.Mutex
	var took []time.Duration
	each := max(2, n/senders)
	g, ctx := errgroup.WithContext(ctx)
	began := now()
	for sender := range senders {
		g.Go(func() error {
			mine, err := send(ctx, addr, sender*each, each)
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return s, err
	}
	ended := now()
	slices.Sort(took)
	return sample{
		value: float64(len(took)) / ended.at.Sub(began.at).Seconds(),
		cpu:   float64((ended.cpu - began.cpu).Microseconds()) / float64(len(took)),
		p99:   float64(took[len(took)*99/100].Microseconds()) / 1000,
	}, nil
}

// send delivers n webhooks, one after the other, over one connection. It writes the requests itself:
// net/http's client would take more of the processor than what is measured.
func send(ctx context.Context, addr string, from, n int) ([]time.Duration, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("reaching the door: %w", err)
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	answers := bufio.NewReader(c)
	took := make([]time.Duration, 0, n)
	for i := range n {
		body := delivery(from + i)
		request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
			doorPath, signature, signed(body), len(body), body)
		began := time.Now()
		if _, err := c.Write(request); err != nil {
			return took, fmt.Errorf("delivering: %w", err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return took, fmt.Errorf("reading an answer: %w", err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return took, fmt.Errorf("a delivery of the load was answered %s", resp.Status)
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// delivery is the i-th webhook: a thin one with what people wrote into the envelope.
func delivery(i int) []byte {
	head := fmt.Sprintf(`{"event":"envelope-completed","apiVersion":"v2.1","retryCount":0,"configurationId":22028153,`+
		`"generatedDateTime":"2026-01-13T07:09:58.9584687Z","data":{"accountId":"%s","userId":"fdb7fd81-065c-44f0-8376-daa56da18c13",`+
		`"envelopeId":"4d3420b8-ce24-8a0a-8135-%012d","note":"`, accountGUID, i)
	const tail = `"}}`
	return []byte(head + strings.Repeat("lorem ipsum ", deliveryBytes/12)[:deliveryBytes-len(head)-len(tail)] + tail)
}
