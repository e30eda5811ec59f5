package wire

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cow is a map that is read without a lock and copied on each write: right for what is written a
// few times in a process's life and read for every record.
type cow[K comparable, V any] struct {
	mu  sync.Mutex
	now atomic.Pointer[map[K]V]
}

func (c *cow[K, V]) get(k K) (v V, ok bool) {
	if m := c.now.Load(); m != nil {
		v, ok = (*m)[k]
	}
	return v, ok
}

func (c *cow[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[K]V{k: v}
	if m := c.now.Load(); m != nil {
		next = maps.Clone(*m)
		next[k] = v
	}
	c.now.Store(&next)
}
