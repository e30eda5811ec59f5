package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"conveyance/internal/sandbox/records"
	"conveyance/internal/sandbox/world"
)

const (
	// journalMax is how many requests each vendor's journal holds at least: some thousand deals'
	// worth, about 15 MB. The oldest go first; a gap in the numbers shows it.
	journalMax = 50_000
	// journalBlock is how many numbers are taken from the state file at a time, so that numbers rise
	// over restarts without a write per request. A restart leaves a gap.
	journalBlock = 10_000
)

// Request is one request as a vendor received it.
type Request struct {
	N       int64     `json:"n"` // rises, over restarts too
	At      time.Time `json:"at"`
	Account string    `json:"account"` // tenant/account; empty where the credential is unknown
	Method  string    `json:"method"`
	Path    string    `json:"path"` // without the vendor's name in front
	Query   string    `json:"query,omitempty"`
	Status  int       `json:"status"` // 0 = not answered: in progress, hung or reset
	// Key is the idempotency key: the Idempotency-Key header or the requestid parameter.
	Key        string `json:"key"`
	BodySHA256 string `json:"body_sha256"`     // of the body as it came, in hex
	Fault      string `json:"fault,omitempty"` // the kind of the fault that struck it
	// Remark is what the vendor holds against the request: "over quota" where it was refused for that, "polled again" where docusign was asked for
	// the same part of the same envelope less than 15 minutes ago, in its time.
	Remark string `json:"remark,omitempty"`

	caller world.Account
}

// journal is one vendor's requests, in memory. It is safe for concurrent use.
type journal struct {
	store *records.Store
	key   records.Key

	mu       sync.Mutex
	requests []Request // numbers follow each other
	last     int64
	reserved int64 // numbers up to here are taken in the state file
}

func newJournal(vendor string, store *records.Store) (*journal, error) {
	j := &journal{store: store, key: records.Key{Kind: "journal", ID: vendor}}
	reserved, err := j.reserve()
	if err != nil {
		return nil, fmt.Errorf("opening the journal of %s: %w", vendor, err)
	}
	j.last, j.reserved = reserved-journalBlock, reserved
	return j, nil
}

func (j *journal) reserve() (int64, error) {
	var next int64
	_, err := j.store.Put(j.key, func(old records.Record, _ time.Time) (records.Change, error) {
		if n, ok := old.Body["reserved"].(json.Number); ok {
			next, _ = n.Int64() // written by us
		}
		next += journalBlock
		return records.Change{Body: map[string]any{"reserved": next}}, nil
	})
	return next, err
}

// received writes a request down and returns its number.
func (j *journal) received(q Request) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last == j.reserved {
		reserved, err := j.reserve()
		if err != nil {
			return 0, fmt.Errorf("reserving numbers of the journal: %w", err)
		}
		j.reserved = reserved
	}
	j.last++
	q.N = j.last
	if len(j.requests) >= journalMax+journalMax/4 {
		j.requests = slices.Clone(j.requests[len(j.requests)-journalMax:])
	}
	j.requests = append(j.requests, q)
	return q.N, nil
}

// answered completes a request that is still held.
func (j *journal) answered(n int64, status int, remark string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if i := n - j.requests[0].N; i >= 0 {
		j.requests[i].Status, j.requests[i].Remark = status, remark
	}
}

// since returns the requests of an account with numbers above after, in order.
func (j *journal) since(account string, after int64) []Request {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := []Request{}
	for _, q := range j.requests {
		if q.N > after && q.caller.Matches(account) {
			out = append(out, q)
		}
	}
	return out
}

// idempotencyKey is how a request names what it must do once.
func idempotencyKey(r *http.Request) string {
	if k := r.Header.Get("Idempotency-Key"); k != "" {
		return k
	}
	return r.URL.Query().Get("requestid")
}
