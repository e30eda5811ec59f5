package translate

import (
	"container/list"
	"runtime/debug"
	"sync"
)

const (
	// memoryBytes bounds what is remembered between batches, by estimate: some 4,000 deals, so that
	// a record's next snapshot is rarely read back and mapped again, within 128 MiB for the process.
	memoryBytes = 32 << 20
	// costFactor is what a snapshot's facts take, with the text that they point into, in multiples of
	// the snapshot (measured on a full deal).
	costFactor = 3
	// packedFactor is what a packed snapshot takes unpacked, in multiples.
	packedFactor = 2
	// costMax keeps one large record from pushing the others out.
	costMax = memoryBytes / 16
	// collectPercent lets the heap grow to three times what is remembered before it is collected: at
	// Go's default of twice, looking through it takes a fifth of the processor time per snapshot.
	collectPercent = 200
	collectDefault = 100 // Go's
)

// CollectRarely makes the process collect garbage as suits one that translates, unless GOGC says
// otherwise, and returns what sets it back. It is for the command; GOMEMLIMIT still bounds the heap.
func CollectRarely() (restore func()) {
	before := debug.SetGCPercent(collectPercent)
	restore = func() { debug.SetGCPercent(before) }
	if before != collectDefault {
		restore()
	}
	return restore
}

// place names a record in a partition.
type place struct {
	topic     string
	partition int32
	key       string
}

// memory is what partitions' owners know of records since the claim (protocol.md 2), the least used
// forgotten first. It is safe for concurrent use.
type memory struct {
	mu     sync.Mutex
	byKey  map[place]*list.Element
	recent *list.List // of remembered, the last used in front
	cost   int
}

type remembered struct {
	place
	held
}

func newMemory() *memory { return &memory{byKey: map[place]*list.Element{}, recent: list.New()} }

func (m *memory) get(p place) (held, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byKey[p]
	if !ok {
		return held{}, false
	}
	m.recent.MoveToFront(e)
	return value(e).held, true
}

// put remembers what was committed, or forgets a record whose facts are not at hand or too large.
func (m *memory) put(p place, h held) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.byKey[p]; ok {
		m.remove(e)
	}
	if (h.facts == nil && h.revision > 0) || h.cost > costMax {
		return
	}
	h.body = nil
	m.byKey[p] = m.recent.PushFront(remembered{p, h})
	m.cost += h.cost
	for m.cost > memoryBytes {
		m.remove(m.recent.Back())
	}
}

// forget drops all of a partition.
func (m *memory) forget(topic string, partition int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, e := range m.byKey {
		if p.topic == topic && p.partition == partition {
			m.remove(e)
		}
	}
}

func (m *memory) remove(e *list.Element) {
	r := value(e)
	m.recent.Remove(e)
	delete(m.byKey, r.place)
	m.cost -= r.cost
}

func value(e *list.Element) remembered {
	r, _ := e.Value.(remembered) // put stores nothing else
	return r
}
