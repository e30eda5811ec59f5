package ingest

import "sync/atomic"

// room is a limited amount of something. It is safe for concurrent use, and never waits.
type room struct{ max, used atomic.Int64 }

func newRoom(limit int64) *room {
	r := &room{}
	r.max.Store(limit)
	return r
}

// take takes n, or nothing where that is more than is left.
func (r *room) take(n int64) bool {
	if r.used.Add(n) > r.max.Load() {
		r.used.Add(-n)
		return false
	}
	return true
}

func (r *room) give(n int64) { r.used.Add(-n) }
