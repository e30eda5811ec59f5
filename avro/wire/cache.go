package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// cache is the file that keeps what one registry has said, so that a process starts while it is
// away. It holds schemas only, nothing secret. Several processes may share one file: each adds what
// it learned to what stands there. A file of another registry, or a broken one, counts as empty.
type cache struct {
	path     string // empty: memory only
	registry string

	mu   sync.Mutex
	data cached
}

type cached struct {
	Registry string             `json:"registry"`
	Schemas  map[uint32]string  `json:"schemas"`  // text by id
	Subjects map[string]subject `json:"subjects"` // what a subject's text was registered as
}

type subject struct {
	ID     uint32 `json:"id"`
	Digest string `json:"sha256"` // of the text as this build has it
}

func openCache(path, registry string) (*cache, error) {
	c := &cache{path: path, registry: registry}
	data, err := c.read()
	c.data = data
	return c, err
}

func (c *cache) read() (cached, error) {
	empty := cached{Registry: c.registry, Schemas: map[uint32]string{}, Subjects: map[string]subject{}}
	if c.path == "" {
		return empty, nil
	}
	text, err := os.ReadFile(c.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return empty, fmt.Errorf("reading the schema cache: %w", err)
	}
	var d cached
	whole := json.Unmarshal(text, &d) == nil && d.Schemas != nil && d.Subjects != nil
	if whole && d.Registry == c.registry {
		return d, nil
	}
	return empty, nil
}

func (c *cache) text(id uint32) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, ok := c.data.Schemas[id]
	return text, ok
}

func (c *cache) id(name, text string) (uint32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.data.Subjects[name]
	return s.ID, ok && s.Digest == digest(text)
}

// learnText notes that an id stands for a text.
func (c *cache) learnText(id uint32, text string) {
	c.learn(func(d *cached) bool {
		known := d.Schemas[id] == text
		d.Schemas[id] = text
		return !known
	})
}

// learnID notes what id a subject has given to a text of this build.
func (c *cache) learnID(name string, id uint32, text string) {
	c.learn(func(d *cached) bool {
		now := subject{ID: id, Digest: digest(text)}
		known := d.Subjects[name] == now
		d.Subjects[name] = now
		if _, ok := d.Schemas[id]; !ok {
			d.Schemas[id], known = text, false
		}
		return !known
	})
}

// learn makes a change in memory and, together with what other processes wrote since, in the file.
// A file that cannot be written costs the next start its cache and nothing else: not reported.
func (c *cache) learn(change func(*cached) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !change(&c.data) || c.path == "" {
		return
	}
	if d, err := c.read(); err == nil {
		maps.Copy(d.Schemas, c.data.Schemas)
		maps.Copy(d.Subjects, c.data.Subjects)
		c.data = d
	}
	_ = c.write()
}

// write replaces the file in one step, so that a reader never sees half of it.
func (c *cache) write() error {
	if c.path == "" {
		return nil
	}
	text, err := json.Marshal(c.data)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), filepath.Base(c.path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
