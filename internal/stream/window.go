package stream

import (
	"time"

	"github.com/google/uuid"

	"conveyance/internal/ledger"
)

// window is what the lane has in hand of one partition.
type window struct {
	*partition
	entries []*entry             // live positions, in order
	lineups map[string]*lineup   // live records by key, and drained ones of keys that wait
	out     ledger.Turn          // what waits for the next turn
	since   time.Time            // of the oldest completion in out; zero = none
	skipped time.Time            // of the oldest progress without one
	doubts  map[ledger.ID]*doubt // sent, outcome unknown (protocol.md 25, 30)
	jobs    int                  // goroutines that will report back
	inTurn  bool
	aside   []*task // ready while the partition is stalled
	stalls  int
	room    chan struct{} // the feeder waits for it to be closed; nil = it does not wait
	loading bool
	drains  int // keys whose queue is being drained
	crowded bool
	leaving bool
	lost    bool // fenced, or given up: what comes in is evidence (protocol.md 32)
}

type entry struct {
	pos   int64
	bytes int
	ended bool
}

// lineup is the records of one key, one at a time (protocol.md 26).
type lineup struct {
	active  *task
	waiting []*task
}

// doubt is what is known of an effect that was sent, perhaps.
type doubt struct {
	first time.Time // of the first claim: the age of the vendor's key
	ready time.Time // from here on no call of it can still land
}

// task is one record on its way: planned, and each effect claimed, called and ended in turn.
type task struct {
	*item
	w        *window
	entry    *entry   // nil for a drained record
	key      *waiting // of a drained record
	wish     ledger.Wish
	eid      uuid.UUID
	effects  []ledger.Effect
	steps    []step
	planned  bool
	at       int // the effect in hand
	applied  int
	reason   string // why an effect was not needed
	confirms int
	slot     bool
	calling  bool
	running  bool // a goroutine works on it
	began    time.Time
}

// step is the state of one effect.
type step struct {
	claimed  bool // its row is in state claimed
	doubt    *doubt
	readBack bool // sent after a read-back
	ended    ledger.State
}
