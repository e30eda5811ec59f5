package stream

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"conveyance/avro/wire"
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
	// Concurrency is how many keys a keyed handler works on at once, over all partitions.
	// Default 64.
	Concurrency int
	// CallDeadline is how long one call of a keyed handler may take, from the fence check on
	// (protocol.md 29). Default 10 s.
	CallDeadline time.Duration
	// VendorLag is the vendor's own longest processing after a call was cut, for reading back
	// (protocol.md 35). Default 5 s.
	VendorLag time.Duration
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

// Engine runs one group: it claims partitions, reads them, and obeys its handler's verdicts.
type Engine struct{}
