package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// format is the version of the file's layout.
const format = 1

// load reads the file; none is an empty registry. What an interrupted save left beside it is
// overwritten by the next one.
func load(path string) (*state, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newState(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the schema registry: %w", err)
	}
	s := newState()
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("reading the schema registry in %s: %w: put a backup there, or use another --dir", path, err)
	}
	if s.Format != format {
		return nil, fmt.Errorf("reading the schema registry in %s: its format is %d, not %d", path, s.Format, format)
	}
	return s, nil
}

// save replaces the file as a whole: a new file, synced, renamed over the old one, and the folder
// synced. A process killed at any moment leaves the old state or the new one.
func save(path string, s *state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := replace(path, text); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("the disk of %s is full: free some space and try again: %w", filepath.Dir(path), err)
		}
		return err
	}
	return nil
}

func replace(path string, text []byte) error {
	file, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
