// Package records holds what the simulated vendors know: JSON objects by account, kind and id, in
// memory, each change appended to one file before it can be seen. The file survives a process that
// is killed, not a machine that loses power: the sandbox is no database. A body is never changed
// once it is stored; readers share it and must not write to it.
package records

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Key names a record. Account is tenant/vendor/name, or empty for what is the sandbox's own.
type Key struct{ Account, Kind, ID string }

// Record is one record as it stood when it was read.
type Record struct {
	ID      string
	Body    map[string]any // as decoded with UseNumber; shared, not to be written to
	Created time.Time
	// Modified rises strictly with every change of the record, in whole milliseconds.
	Modified time.Time
	Gone     bool // deleted; Body is as it was last
	// Trail are the states that the record went through, without repeats in a row. What an adapter
	// did in a state that passed may stay, so truth must know it.
	Trail []string

	before map[string]any // the body before the last change; nil where it never changed
}

// Exists says whether the vendor has the record.
func (r Record) Exists() bool { return r.Body != nil && !r.Gone }

// Change is a record's next body, and the state that it is then in; empty where states do not matter.
type Change struct {
	Body  map[string]any
	State string
}

// Store is all records. It is safe for concurrent use.
type Store struct {
	clock func() time.Time

	mu      sync.RWMutex
	buckets map[Key]*bucket // by account and kind
	lastID  int64
	path    string   // empty = in memory only
	file    *os.File // open at path
	size    int64    // bytes of whole lines in file
	full    int64    // size at which the file is written anew
	closed  bool
}

// bucket is the records of one kind in one account, in the order in which they were made.
type bucket struct {
	byID  map[string]*Record
	order []string
}

// ErrClosed is returned by changes after Close.
var ErrClosed = errors.New("the sandbox is closed")

// Open reads path, which need not exist, and writes it anew without what is outdated. An empty path
// keeps everything in memory.
func Open(path string, clock func() time.Time) (*Store, error) {
	s := &Store{clock: clock, buckets: map[Key]*bucket{}, path: path}
	if path == "" {
		return s, nil
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("reading the sandbox's state %s: %w", path, err)
	}
	if err := s.rewrite(); err != nil {
		return nil, fmt.Errorf("writing the sandbox's state %s: %w", path, err)
	}
	return s, nil
}

// Close ends changes; reading goes on. A second call does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// NewID returns a number that was never returned before, over restarts too once a record that came
// after it was stored.
func (s *Store) NewID() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	return s.lastID
}

// SkipTo makes NewID return higher numbers than id.
func (s *Store) SkipTo(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID = max(s.lastID, id)
}

type staleKey struct{}

// Stale returns a context for which As sees each record as it was before its last change, as a
// lagging replica would show it. A record that never changed is seen as it is.
func Stale(ctx context.Context) context.Context { return context.WithValue(ctx, staleKey{}, true) }

// View reads records.
type View struct {
	s     *Store
	stale bool
}

// As is what a request sees: what is, or what Stale says.
func (s *Store) As(ctx context.Context) View { return View{s, ctx.Value(staleKey{}) != nil} }

// Now is what is.
func (s *Store) Now() View { return View{s: s} }

func (v View) see(r Record) Record {
	if v.stale && r.before != nil {
		r.Body, r.Gone = r.before, false
	}
	return r
}

// Get returns a record; one that was deleted has Gone set, one that never was has no body.
func (v View) Get(k Key) Record {
	v.s.mu.RLock()
	defer v.s.mu.RUnlock()
	return v.see(v.s.record(k))
}

// List returns an account's records of a kind in the order in which they were made, deleted ones
// with Gone set.
func (v View) List(account, kind string) []Record {
	v.s.mu.RLock()
	defer v.s.mu.RUnlock()
	b := v.s.buckets[Key{Account: account, Kind: kind}]
	if b == nil {
		return nil
	}
	out := make([]Record, len(b.order))
	for i, id := range b.order {
		out[i] = v.see(*b.byID[id])
	}
	return out
}

// Put changes a record, or makes it, as change says. change gets the record as it is and the instant
// of the change; it runs under the store's lock, must not write to the old body and must not call
// the store. Its error is returned as it is.
func (s *Store) Put(k Key, change func(old Record, at time.Time) (Change, error)) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.record(k)
	at := s.clock().UTC().Truncate(time.Millisecond)
	if !at.After(old.Modified) {
		at = old.Modified.Add(time.Millisecond)
	}
	next, err := change(old, at)
	if err != nil {
		return Record{}, err
	}
	r := old
	r.Body, r.Modified, r.Gone, r.before = next.Body, at, false, old.Body
	if !old.Exists() {
		r.Created = at
	}
	if n := len(r.Trail); next.State != "" && (n == 0 || r.Trail[n-1] != next.State) {
		r.Trail = append(slices.Clip(r.Trail), next.State)
	}
	return s.store(k, r)
}

// Delete marks a record as deleted and says whether it was there.
func (s *Store) Delete(k Key) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.record(k)
	if !r.Exists() {
		return false, nil
	}
	r.Gone, r.before, r.Modified = true, r.Body, r.Modified.Add(time.Millisecond)
	_, err := s.store(k, r)
	return err == nil, err
}

func (s *Store) record(k Key) Record {
	if b := s.buckets[Key{Account: k.Account, Kind: k.Kind}]; b != nil && b.byID[k.ID] != nil {
		return *b.byID[k.ID]
	}
	return Record{ID: k.ID}
}

// store appends the record to the file, then shows it.
func (s *Store) store(k Key, r Record) (Record, error) {
	if s.closed {
		return Record{}, ErrClosed
	}
	body, err := plain(r.Body)
	if err != nil {
		return Record{}, fmt.Errorf("encoding %s %s of %s: %w", k.Kind, k.ID, k.Account, err)
	}
	r.Body = body
	if err := s.append(k, r); err != nil {
		return Record{}, fmt.Errorf("writing %s %s of %s: %w", k.Kind, k.ID, k.Account, err)
	}
	s.show(k, r)
	return r, nil
}

func (s *Store) show(k Key, r Record) {
	where := Key{Account: k.Account, Kind: k.Kind}
	b := s.buckets[where]
	if b == nil {
		b = &bucket{byID: map[string]*Record{}}
		s.buckets[where] = b
	}
	if b.byID[k.ID] == nil {
		b.order = append(b.order, k.ID)
	}
	b.byID[k.ID] = &r
}
