// Package ingest is the door: vendors deliver their webhooks to POST /in/<vendor>/<token>, and a 2xx
// means that the delivery is on the bus for good. It is the stage of the producers, not one of their
// leaves, and knows no vendor: which key signed, and whose delivery it is, the vendor's folder says.
//
// What it guarantees: a delivery is accepted where a live key of the path's account signed exactly its
// bytes and it does not name another account; accepted is acknowledged by Kafka, then answered. What is
// not acknowledged within the vendor's deadline is answered 503 and left in flight, so that its outcome
// is the log's, not ours: the vendor delivers again under the same id. A signed body that nobody can
// read is accepted too, and parks where people see it. An unknown token, a wrong key, a missing
// signature and another account's delivery look alike: 401, nothing in it, at the same time. What it
// holds in memory is bounded whatever comes and however long Kafka is away.
//
// What it never does: keep a delivery in memory behind a 2xx, remember deliveries to drop repeats,
// follow an address in a body, ask for documents (a vendor that would send them, 25 MB and more, is
// told by 413), or log a body, a token, a key or a person.
package ingest

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"conveyance/avro/event"
	"conveyance/avro/topic"
	"conveyance/internal/postgres"
	"conveyance/internal/tenant"
	"conveyance/producers"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the stage's tables.
func Migrations() fs.FS { return postgres.Sub(migrations, "migrations") }

// Schema is the Postgres schema where Config names no other.
const Schema = "ingest"

const (
	// recordBytes is left of a message for what is not the body: ids, and the headers that
	// headerBytesMax bounds.
	recordBytes = 64 << 10
	// bodyBytesMax is the largest delivery: what fits into one message of its topic. DocuSign's records
	// are below 100 KiB without documents, which we never ask for.
	bodyBytesMax = topic.MessageBytesMax - recordBytes
	// freeBytes of a body are read without a place in readingBytesMax: with the limit of connections
	// that is 32 MiB, and no stranger with large bodies keeps out ordinary deliveries.
	freeBytes = 16 << 10
	// readingBytesMax is what larger bodies may hold together while they come in.
	readingBytesMax = 16 << 20
	// recordsMax and bytesMax are what may be in flight to Kafka. Only signed deliveries are counted.
	// 2048 at an acknowledgement in 100 ms are 20,000 a second; the bytes stay below what the publisher
	// buffers, so that publishing never blocks for room.
	recordsMax = 2048
	bytesMax   = 16 << 20
	// answerDefault is a vendor's deadline where it states none, and answerMax the longest that is used
	// of one: longer waits only hold memory, and the vendor comes again.
	answerDefault = 5 * time.Second
	answerMax     = 10 * time.Second
	// answerMargin is left of a deadline for the way there and back.
	answerMargin = time.Second
	// retryAfter is what a 503 asks for: a leader's election takes seconds.
	retryAfter = "10"
	// rejectAfterDefault is when every 401 is answered: later than the slowest of them is decided, so
	// that none tells by its time how far it came.
	rejectAfterDefault = 20 * time.Millisecond
	// keysMin is how many keys are tried at least: two are live while one is rotated.
	keysMin = 2
	// drainTimeout is how long what is in flight is waited for at the end.
	drainTimeout = 3 * time.Second
)

// Publisher puts a delivery on its vendor's webhooks topic under a key. An error means that it was not
// handed over. Else done is called once, however long it takes: with nil when all in-sync replicas have
// it, with an error where its outcome is unknown. It never waits for Kafka, and ctx ends any other
// waiting. done does not block.
type Publisher interface {
	Publish(ctx context.Context, key string, w *event.WebhookReceived, done func(error)) error
}

// Config of the door. Zero values are replaced by the defaults that their comments name.
type Config struct {
	// Schema is the Postgres schema. Default Schema.
	Schema string
	// RejectAfter is how long after its body came a 401 is answered. Default 20 ms.
	RejectAfter time.Duration
	// Now is the clock of keys, deliveries and alarms. Default time.Now.
	Now func() time.Time
}

// Deps are what the door works with. It closes none of them.
type Deps struct {
	Pool      *pgxpool.Pool
	Endpoints tenant.Endpoints
	Tenants   tenant.Directory
	Vendors   []producers.Vendor
	Publish   Publisher
	Log       *zap.Logger
	Metrics   prometheus.Registerer // nil = none
}

// Door takes deliveries in. It is safe for concurrent use.
type Door struct {
	cfg       Config
	endpoints tenant.Endpoints
	publish   Publisher
	vendors   map[string]producers.Vendor
	log       *zap.Logger
	metrics   *metrics
	watch     *watch
	dummy     []byte       // signs nothing: nobody knows it
	keysTried atomic.Int32 // the most live keys that an account was seen with

	reading, records, bytes *room

	flying    sync.WaitGroup
	awaySince atomic.Pointer[time.Time] // since when Kafka acknowledges nothing in time; nil = it does
}

// New returns a door, which neither listens nor writes anything yet.
func New(cfg Config, deps Deps) (*Door, error) {
	if cfg.Schema == "" {
		cfg.Schema = Schema
	}
	if cfg.RejectAfter == 0 {
		cfg.RejectAfter = rejectAfterDefault
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Door{
		cfg: cfg, endpoints: deps.Endpoints, publish: deps.Publish, log: deps.Log, vendors: map[string]producers.Vendor{},
		reading: newRoom(readingBytesMax), records: newRoom(recordsMax), bytes: newRoom(bytesMax),
	}
	for _, v := range deps.Vendors {
		if v.Webhook != nil {
			d.vendors[v.Name] = v
		}
	}
	m, err := newMetrics(deps.Metrics, d)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of ingest: %w", err)
	}
	d.metrics = m
	d.watch = newWatch(store{deps.Pool, cfg.Schema}, deps.Tenants, d.vendors, m, deps.Log, cfg.Now)
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	d.dummy = []byte(hex.EncodeToString(random))
	d.keysTried.Store(keysMin)
	return d, nil
}

// Handler answers POST /in/<vendor>/<token>: 2xx, 401, 408, 413, 415 or 503. Paths beside it are 404,
// other methods 405.
func (d *Door) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		vendor, token, found := place(r.URL.Path)
		switch {
		case !found:
			http.NotFound(w, r)
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		default:
			d.in(w, r, vendor, token)
		}
	})
}

// place is what a delivery's path says.
func place(path string) (vendor, token string, found bool) {
	path, found = strings.CutPrefix(path, "/in/")
	if !found {
		return "", "", false
	}
	vendor, token, _ = strings.Cut(path, "/")
	return vendor, token, vendor != "" && token != "" && !strings.Contains(token, "/")
}

// Run runs serve, which hands requests to Handler until ctx ends and has then finished with them, and
// beside it keeps the accounts' traffic and alarms: a Postgres that is away costs alarms, not
// deliveries. In the end what is still in flight gets drainTimeout; whoever closes the publisher then
// gives up the rest, which the vendors' next attempts settle.
func (d *Door) Run(ctx context.Context, serve func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		d.watch.run(ctx)
	}()
	err := serve(ctx)
	cancel()
	landed := make(chan struct{})
	go func() {
		d.flying.Wait()
		close(landed)
	}()
	select {
	case <-landed:
	case <-time.After(drainTimeout):
	}
	<-watched
	d.watch.last(ctx)
	return err
}

// errAway is why a door is not ready.
var errAway = errors.New("no delivery is acknowledged by Kafka in time")

// Ready is nil while Kafka acknowledges in time what is delivered.
func (d *Door) Ready() error {
	if since := d.awaySince.Load(); since != nil {
		return fmt.Errorf("%w since %s", errAway, since.UTC().Format(time.RFC3339))
	}
	return nil
}
