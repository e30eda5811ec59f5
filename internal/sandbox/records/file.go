package records

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The file is written anew when it is growth times as long as it was then, and growthMin at least:
// a pause of some 100 ms now and then, against a disk that fills with outdated lines.
const (
	growth    = 8
	growthMin = 64 << 20
)

// line is one line of the file: a record after one change. The last line of a record counts.
type line struct {
	Account  string         `json:"account,omitempty"`
	Kind     string         `json:"kind"`
	ID       string         `json:"id"`
	Created  time.Time      `json:"created"`
	Modified time.Time      `json:"modified"`
	Gone     bool           `json:"gone,omitempty"`
	Trail    []string       `json:"trail,omitempty"`
	LastID   int64          `json:"last_id"`
	Body     map[string]any `json:"body"`
	Before   map[string]any `json:"before,omitzero"` // only in a file written anew
}

// load reads the file's lines in order. A last line without its end is what a killed process left
// half written: nobody was told of that change, and it is dropped.
func (s *Store) load() error {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var w line
		if err := decode(text, &w); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		k := Key{Account: w.Account, Kind: w.Kind, ID: w.ID}
		before := w.Before
		if before == nil {
			before = s.record(k).Body
		}
		s.show(k, Record{
			ID: w.ID, Body: w.Body, Created: w.Created, Modified: w.Modified, Gone: w.Gone, Trail: w.Trail, before: before,
		})
		s.lastID = max(s.lastID, w.LastID)
	}
}

// rewrite replaces the file by one line per record, and opens it for what follows.
func (s *Store) rewrite() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	next := s.path + ".next"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	size := int64(0)
	out := bufio.NewWriter(f)
	for where, b := range s.buckets {
		for _, id := range b.order {
			r := *b.byID[id]
			where.ID = id
			text, err := s.encode(where, r, r.before)
			if err == nil {
				_, err = out.Write(text)
			}
			if err != nil {
				return errors.Join(err, f.Close())
			}
			size += int64(len(text))
		}
	}
	err = out.Flush()
	if err == nil {
		err = os.Rename(next, s.path) // only what is whole takes the place of what was
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if s.file != nil {
		_ = s.file.Close() // it has no name any more
	}
	s.file, s.size, s.full = f, size, max(growthMin, growth*size)
	return nil
}

// append writes one whole line or, where the disk refuses a part of it, none. A file that has grown
// far beyond what it holds is written anew first.
func (s *Store) append(k Key, r Record) error {
	if s.file == nil {
		return nil
	}
	text, err := s.encode(k, r, nil)
	if err != nil {
		return err
	}
	if s.size >= s.full {
		if err := s.rewrite(); err != nil {
			return err
		}
	}
	if _, err := s.file.WriteAt(text, s.size); err != nil {
		return errors.Join(err, s.file.Truncate(s.size))
	}
	s.size += int64(len(text))
	return nil
}

func (s *Store) encode(k Key, r Record, before map[string]any) ([]byte, error) {
	text, err := json.Marshal(line{
		Account: k.Account, Kind: k.Kind, ID: k.ID, Created: r.Created, Modified: r.Modified,
		Gone: r.Gone, Trail: r.Trail, LastID: s.lastID, Body: r.Body, Before: before,
	})
	return append(text, '\n'), err
}

// plain is the body as it would be read back from the file, so that a restart changes no type.
func plain(body map[string]any) (map[string]any, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, decode(text, &out)
}

func decode(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(v)
}

// Merge lays patch over body: objects are merged key by key, everything else (null and arrays too)
// takes the place of what was there. Neither argument is changed.
func Merge(body, patch map[string]any) map[string]any {
	out := make(map[string]any, len(body)+len(patch))
	for k, v := range body {
		out[k] = v
	}
	for k, v := range patch {
		before, isObject := out[k].(map[string]any)
		if inner, ok := v.(map[string]any); ok && isObject {
			v = Merge(before, inner)
		}
		out[k] = v
	}
	return out
}
