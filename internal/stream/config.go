package stream

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"conveyance/avro/wire"
	"conveyance/internal/postgres"
)

// Start says where a group begins in a partition that it has never read. It is resolved once, to
// an offset that is then stored.
type Start struct {
	At     time.Time // not zero: the first record at or after this time
	Latest bool      // the end of the log; otherwise its beginning
}

// Config of one group. Zero values are replaced by the defaults that their comments name.
type Config struct {
	Group  string   // consumer group without prefix; also the Postgres schema
	Schema string   // Postgres schema; default Group
	Topics []string // without prefix
	Prefix string   // of topics and group
	Start  Start

	// InstanceID makes the member static: a restart within Session takes its partitions up again in
	// milliseconds. Two processes with one id exclude each other; the loser ends. Kafka's
	// group.instance.id. Default: dynamic.
	InstanceID string
	// Session is how long a silent member keeps its partitions. Kafka's session.timeout.ms.
	// Default 10 s: three missed heartbeats of 3 s; above the timeouts of internal/postgres.
	Session time.Duration
	// BatchRecords is how many records of a partition a batch handler gets at most. Default 500:
	// from there on unnest arrays gain little and memory grows (measured).
	BatchRecords int
	// WindowRecords is how many records of a partition a keyed handler has in hand at most.
	// Default 1000.
	WindowRecords int
	// Concurrency is how many calls of a keyed handler are under way at once, over all partitions;
	// half as many records more are planned and claimed meanwhile. Default 64.
	Concurrency int
	// CallDeadline is how long one call of a keyed handler may take, from the fence check on
	// (protocol.md 29). Default 10 s.
	CallDeadline time.Duration
	// VendorLag is the vendor's own longest processing after a call was cut, for reading back
	// (protocol.md 35). Default 5 s.
	VendorLag time.Duration
	// KeyLife is how long the vendor remembers an idempotency key (protocol.md 33). Default 24 h,
	// the shortest known; an hour less is trusted.
	KeyLife time.Duration
	// DrainTimeout is how long shutdown waits for what is in flight. Default 8 s, below the 10 s
	// after which a supervisor kills.
	DrainTimeout time.Duration
}

// Deps are what an engine works with. It closes none of them.
type Deps struct {
	Kafka   []kgo.Opt // seeds, TLS, SASL; the engine adds its own, each with its reason
	Pool    *pgxpool.Pool
	Codec   *wire.Codec
	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// sessionMin leaves the timeouts of internal/postgres room: a frozen owner's transaction must end
// before its successor claims (protocol.md 4).
const sessionMin = postgres.IdleInTransactionTimeout + time.Second

func (c Config) filled() (Config, error) {
	set(&c.Schema, c.Group)
	set(&c.Session, 10*time.Second)
	set(&c.BatchRecords, 500)
	set(&c.WindowRecords, 1000)
	set(&c.Concurrency, 64)
	set(&c.CallDeadline, 10*time.Second)
	set(&c.VendorLag, 5*time.Second)
	set(&c.KeyLife, 24*time.Hour)
	set(&c.DrainTimeout, 8*time.Second)
	switch {
	case c.Group == "" || len(c.Topics) == 0:
		return c, errors.New("an engine needs a group and topics")
	case c.Session < sessionMin:
		return c, fmt.Errorf("session of %s: at least %s, above Postgres's timeouts", c.Session, sessionMin)
	}
	return c, nil
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

const (
	// fenceAge is how old the last look at the token may be before a call: F (protocol.md 28).
	fenceAge = time.Second
	// keyLifeMargin is taken off a vendor's key life: its clock and ours differ (protocol.md 33).
	keyLifeMargin = time.Hour
	// pulseEvery is how often an owner looks for wishes and lost tokens, and mirrors its offsets.
	pulseEvery = time.Second
	// flushAfter is how long a completion waits for company (protocol.md 31).
	flushAfter = 20 * time.Millisecond
	// skipFlushAfter is how long progress without effects may stay unwritten.
	skipFlushAfter = time.Second
	// attemptsMax is how often a record is tried before it parks: with backoffCap about an hour.
	attemptsMax = 12
	// confirmsMax is how often an effect in doubt is read back in vain before a person is asked.
	confirmsMax = 6
	// backoffBase and backoffCap bound the full jitter between attempts.
	backoffBase = 500 * time.Millisecond
	backoffCap  = 15 * time.Minute
	// stallCap bounds the jitter of a stalled partition: it must find the world mended soon.
	stallCap = 15 * time.Second
	// holdLook is when a hold without a time is looked at by itself: a wake may have come before the
	// hold was written.
	holdLook = 5 * time.Minute
	// keyRecordsMax is how many records may wait behind one key before its partition stalls: more is
	// a fault, not a backlog, and somebody must look.
	keyRecordsMax = 1000
	// tenantKeysPage is how many keys of one tenant may wait in one partition before it is logged for
	// a person.
	tenantKeysPage = 100
)

// doubtWait is T: after it no call of a former owner, or of ours that was cut, can still land
// (protocol.md 35).
func (c Config) doubtWait() time.Duration { return fenceAge + c.CallDeadline + c.VendorLag }
