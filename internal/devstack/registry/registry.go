// Package registry is the schema registry that up brings along: Confluent's REST interface for
// Avro schemas, with real compatibility checks, kept in one file. An answer of success means that
// the change is on the disk; ids never change and are never given twice, over restarts and kills.
// It knows Avro only, one context, and no rule sets; unknown JSON fields are tolerated.
//
// It is written whole instead of around franz-go's srfake, because srfake answers registering,
// lookups, checks, deletes, levels and modes otherwise than Confluent's registry does, and offers
// no way to read its state back for the disk: what would be left of it is a handful of reads.
package registry

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"conveyance/internal/devstack/dirlock"
)

// Registry holds schemas. It is safe for concurrent use: readers see whole states and wait for
// nobody, writers take turns.
type Registry struct {
	path  string        // empty = in memory only
	lock  *dirlock.Lock // nil in memory
	write sync.Mutex    // held from reading the state to replacing it
	state atomic.Pointer[state]
}

// Open reads the registry kept in the file path, or starts an empty one; an empty path keeps it in
// memory. The file is locked: a second Open is refused with a *dirlock.InUseError.
func Open(path string) (*Registry, error) {
	r := &Registry{path: path}
	if path == "" {
		r.state.Store(newState())
		return r, nil
	}
	lock, err := dirlock.Take(path + ".lock")
	if err != nil {
		return nil, err
	}
	s, err := load(path)
	if err != nil {
		_ = lock.Release()
		return nil, err
	}
	r.lock = lock
	r.state.Store(s)
	return r, nil
}

// Close gives the file free. Everything is on the disk already; call it after the server has ended.
func (r *Registry) Close() error {
	if r.lock == nil {
		return nil
	}
	return r.lock.Release()
}

// update replaces the state by what change made of a copy, once that is on the disk. A change that
// returns an error, or that the disk refuses, leaves everything as it was.
func (r *Registry) update(change func(s *state) error) error {
	r.write.Lock()
	defer r.write.Unlock()
	next := r.state.Load().clone()
	if err := change(next); err != nil {
		return err
	}
	if r.path != "" {
		if err := save(r.path, next); err != nil {
			return fmt.Errorf("keeping the change: %w", err)
		}
	}
	r.state.Store(next)
	return nil
}

// Handler serves the registry's REST interface.
func (r *Registry) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, serve := range map[string]endpoint{
		"GET /{$}":                       func(*http.Request) (any, error) { return struct{}{}, nil },
		"GET /contexts":                  func(*http.Request) (any, error) { return []string{"."}, nil },
		"GET /schemas/types":             func(*http.Request) (any, error) { return []string{avroType}, nil },
		"GET /schemas":                   r.allSchemas,
		"GET /schemas/ids/{id}":          r.schemaByID,
		"GET /schemas/ids/{id}/schema":   r.textByID,
		"GET /schemas/ids/{id}/versions": r.versionsByID,
		"GET /schemas/ids/{id}/subjects": r.subjectsByID,

		"GET /subjects":                                           r.subjects,
		"POST /subjects/{subject}":                                r.lookup,
		"DELETE /subjects/{subject}":                              r.deleteSubject,
		"GET /subjects/{subject}/versions":                        r.versions,
		"POST /subjects/{subject}/versions":                       r.register,
		"GET /subjects/{subject}/versions/{version}":              r.schemaByVersion,
		"DELETE /subjects/{subject}/versions/{version}":           r.deleteVersion,
		"GET /subjects/{subject}/versions/{version}/schema":       r.textByVersion,
		"GET /subjects/{subject}/versions/{version}/referencedby": r.referencedBy,

		"POST /compatibility/subjects/{subject}/versions":           r.checkAll,
		"POST /compatibility/subjects/{subject}/versions/{version}": r.checkOne,

		"/": nowhere,
	} {
		mux.Handle(pattern, serve)
	}
	for root, t := range map[string]setting{"/config": level, "/mode": mode} {
		for _, path := range []string{root, root + "/{subject}"} {
			mux.Handle("GET "+path, t.get(r))
			mux.Handle("PUT "+path, t.put(r))
			mux.Handle("DELETE "+path, t.reset(r))
		}
	}
	return mux
}
